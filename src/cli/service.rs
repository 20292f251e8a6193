//! What a command needs to take transactions on their way: database, taxonomy, encoder, stage.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use tokio::{
    signal::unix,
    task::JoinSet,
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{Settings, chat, models};
use crate::{
    access::LOCAL,
    adapters::roster::{self, Roster},
    categorize::{Engine, LabelledExample, Lineup, Otherwise, Sources, Stage, StageEntry, StageFile},
    clock,
    domain::Taxonomy,
    embedded,
    enrich::{Enricher, Examples},
    evaluate::{dataset, promise},
    llm::ChatModel,
    model::{AdapterBank, BaseEncoder, Encoder},
    pipeline::Pipeline,
    prompt::PromptSet,
    store::Store,
};

/// The adapter that a new deployment begins with, and that is measured where none is named, where its
/// categories are those asked for.
pub(super) const DEMO_ADAPTER: &str = "models/adapters/demo";

/// Texts of which what adapters said is kept at hand: some 30 MB.
const REMEMBERED: usize = 65_536;

/// Labels that a stage without an adapter keeps at hand.
const MOST_LABELLED: u32 = 20_000;

/// Of these, so many are given their history at once.
const ENRICHED_AT_ONCE: usize = 1_000;

/// Where stages and prompts are.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct StageFiles {
    /// The file that lists the stages.
    #[arg(long = "stages", env = "TXCAT_STAGES", value_name = "FILE", default_value = "eval/stages.toml")]
    pub stages: PathBuf,

    /// The folder of prompt versions.
    #[arg(long = "prompts-dir", env = "TXCAT_PROMPTS_DIR", value_name = "DIR", default_value = "prompts/categorize")]
    pub prompts: PathBuf,
}

impl StageFiles {
    /// The file, read.
    ///
    /// # Errors
    /// When it can't be read or is no stage file.
    pub(super) fn load(&self) -> anyhow::Result<StageFile> {
        Ok(StageFile::load(&self.stages)?)
    }

    /// The prompt of a stage.
    ///
    /// # Errors
    /// When the stage has none, or its folder can't be read.
    pub(super) fn prompt(&self, entry: &StageEntry) -> anyhow::Result<PromptSet> {
        let folder = entry.prompt.as_ref().with_context(|| format!("stage `{}` has no prompt", entry.name))?;
        Ok(PromptSet::load(&self.prompts.join(folder))?)
    }
}

/// Which stage answers, and in which categories.
#[derive(Debug, Clone, Args)]
pub struct Serving {
    /// Where stages and prompts are.
    #[command(flatten)]
    pub files: StageFiles,

    /// The stage that answers. [default: the one that the stage file serves]
    #[arg(long, env = "TXCAT_STAGE", value_name = "NAME")]
    pub stage: Option<String>,

    /// The adapter of the `adapter` stage, whatever the registry says. [default: the registry's champion; where
    /// there is none yet, models/adapters/demo becomes it]
    #[arg(long, env = "TXCAT_ADAPTER", value_name = "DIR")]
    pub adapter: Option<PathBuf>,

    /// The taxonomy to answer in: a TOML file, or a data set's categories.csv. [default: the consumer taxonomy, or what
    /// took its place in this database]
    #[arg(long, env = "TXCAT_TAXONOMY", value_name = "FILE")]
    pub taxonomy: Option<PathBuf>,

    /// Share of the accepted answers that people are asked about all the same: these tell how accurate live
    /// answers are.
    #[arg(long, env = "TXCAT_AUDIT_SHARE", value_name = "SHARE", default_value_t = 0.005, value_parser = share)]
    pub audit_share: f32,
}

/// A taxonomy: a TOML file's, a data set's `categories.csv`, or the consumer taxonomy.
///
/// # Errors
/// When the file can't be read or is no taxonomy.
pub(super) fn taxonomy(path: Option<&Path>) -> anyhow::Result<Taxonomy> {
    let Some(path) = path else { return Ok(Taxonomy::consumer()?) };
    if path.extension().is_some_and(|ending| ending == "csv") {
        return Ok(dataset::taxonomy(path)?);
    }
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    Taxonomy::from_toml(&text).with_context(|| format!("{} is no taxonomy", path.display()))
}

/// Words that say something.
pub(super) fn said(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A share, from 0 to 1.
pub(super) fn share(text: &str) -> Result<f32, String> {
    let share: f32 = text.parse().map_err(|_| "must be a number")?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be from 0 to 1".to_owned()) }
}

/// [`share`] in twice the digits.
pub(super) fn share64(text: &str) -> Result<f64, String> {
    share(text)?;
    text.parse().map_err(|_| "must be a number".to_owned())
}

/// A number above 0.
pub(super) fn positive(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "must be a number")?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("must be above 0".to_owned()) }
}

/// A share that leaves something.
pub(super) fn not_all(text: &str) -> Result<f32, String> {
    if share(text)? < 1.0 { share(text) } else { Err("must be from 0 to less than 1".to_owned()) }
}

/// What answers, and what keeps it as the registry has it.
pub struct Ready {
    /// The way of a transaction.
    pub pipeline: Pipeline,
    /// The taxonomy that it answers in.
    pub taxonomy: Arc<Taxonomy>,
    /// Follows the registry, where the registry says who answers.
    pub roster: Option<Roster>,
}

impl Ready {
    /// Keeps a pipeline as registry, calibrations and promises have it, as long as the tasks run.
    pub(super) fn keep_fresh(
        roster: Option<Roster>,
        taxonomy: &Arc<Taxonomy>,
        pipeline: &Arc<Pipeline>,
        store: &Store,
        every: Duration,
    ) -> JoinSet<()> {
        let mut beside = JoinSet::new();
        match roster {
            Some(roster) => {
                beside.spawn(roster.follow(Arc::clone(pipeline)));
            }
            None => {
                let stage = pipeline.lineup().champion().clone();
                let (store, taxonomy) = (store.clone(), Arc::clone(taxonomy));
                beside.spawn(roster::follow_fitted(store, taxonomy, stage, Arc::clone(pipeline)));
            }
        }
        beside.spawn(promises(store.clone(), Arc::clone(pipeline), ticks(every)));
        beside
    }
}

/// Asks people, from now on, about all answers of levels that break their promise.
async fn promises(store: Store, pipeline: Arc<Pipeline>, mut ticks: Interval) {
    let mut before = HashSet::new();
    loop {
        ticks.tick().await;
        match promise::live(&store, clock::now()).await {
            Ok(live) => {
                let broken = promise::broken(&live);
                for (engine, level) in broken.difference(&before) {
                    tracing::warn!(%engine, %level, "A confidence level breaks its promise: its answers go to review");
                }
                pipeline.distrust(broken.clone());
                before = broken;
            }
            Err(error) => tracing::warn!(error = %error, "the confidence levels could not be looked at"),
        }
    }
}

/// Now and every so often. A look that takes longer delays the next one.
pub(super) fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Cancelled at Ctrl-C or SIGTERM. At a second one the process ends, whatever it is at.
#[expect(clippy::disallowed_methods, reason = "who asks again waits for nothing any more, destructors included")]
pub(super) fn asked_to_stop() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let stopping = stop.clone();
    let mut asked = async move || {
        tokio::select! {
            _ = interrupt.recv() => unix::SignalKind::interrupt(),
            _ = terminate.recv() => unix::SignalKind::terminate(),
        }
    };
    tokio::spawn(async move {
        asked().await;
        stopping.cancel();
        let again = asked().await;
        process::exit(128 + again.as_raw_value());
    });
    Ok(stop)
}

/// Acts on the database, found or started and with its schema up to date, and lets go of it: the last one out stops a
/// private server.
///
/// # Errors
/// When there is none to be had, the act fails, or a private server does not stop; of the last two, the act's.
pub async fn with_store<T>(
    settings: &Settings,
    act: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let database = embedded::Database::open(&settings.database).await?;
    let store = Store::connect(database.url(), settings.database.max_connections).await?;
    let done = act(&store).await;
    store.close().await;
    let closed = database.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

impl Serving {
    /// The taxonomy to answer in.
    ///
    /// # Errors
    /// When the file can't be read or is no taxonomy.
    pub fn taxonomy(&self) -> anyhow::Result<Taxonomy> {
        taxonomy(self.taxonomy.as_deref())
    }

    /// The taxonomy to answer in, of a database: where none is named, the one that took the consumer taxonomy's place.
    ///
    /// # Errors
    /// When the file can't be read or is no taxonomy, or the database fails.
    pub async fn taxonomy_in_force(&self, store: &Store) -> anyhow::Result<Taxonomy> {
        let taxonomy = self.taxonomy()?;
        if self.taxonomy.is_some() {
            return Ok(taxonomy);
        }
        let mut version = taxonomy.version().to_owned();
        while let Some(now) = store.taxonomy_left(&version).await? {
            version = now;
        }
        if version == taxonomy.version() {
            return Ok(taxonomy);
        }
        let stored =
            store.taxonomy(&version).await?.with_context(|| format!("the taxonomy {version} is not stored"))?;
        Taxonomy::new(&stored.name, stored.categories).with_context(|| format!("{version} is no taxonomy"))
    }

    /// [`Self::taxonomy_in_force`], where rows are to be written in its words.
    ///
    /// # Errors
    /// When it was left for another, can't be read or is no taxonomy, or the database fails.
    pub async fn taxonomy_to_write(&self, store: &Store) -> anyhow::Result<Taxonomy> {
        let taxonomy = self.taxonomy_in_force(store).await?;
        if let Some(now) = store.taxonomy_left(taxonomy.version()).await? {
            bail!(
                "the taxonomy {} was left for {now}: nothing more is written in its words (--taxonomy says in which, and \
                 without it the one in force is taken)",
                taxonomy.version()
            );
        }
        Ok(taxonomy)
    }

    /// The entry of the stage that answers.
    ///
    /// # Errors
    /// When the stage file can't be used or lists no such stage.
    pub fn entry(&self) -> anyhow::Result<StageEntry> {
        let file = self.files.load()?;
        let name = self.stage.as_deref().unwrap_or(&file.serve);
        Ok(file.entry(name)?.clone())
    }

    /// The pipeline of the stage that answers, with the taxonomy in the database and the merchant
    /// directory filled.
    ///
    /// # Errors
    /// When its taxonomy was left for another, the encoder can't be had, or the stage can't be built.
    pub async fn pipeline(&self, settings: &Settings, store: &Store) -> anyhow::Result<Ready> {
        let taxonomy = self.taxonomy_to_write(store).await?;
        self.pipeline_in(taxonomy, settings, store).await
    }

    /// [`Self::pipeline`] of a service, which apps wait for: where its taxonomy was left, it says so and answers all the same.
    ///
    /// # Errors
    /// When the encoder can't be had, or the stage can't be built.
    pub async fn service(&self, settings: &Settings, store: &Store) -> anyhow::Result<Ready> {
        let taxonomy = self.taxonomy_in_force(store).await?;
        if let Some(now) = store.taxonomy_left(taxonomy.version()).await? {
            let here = taxonomy.version();
            eprintln!("txcat: it answers in the taxonomy {here}, which was left for {now} (--taxonomy says in which)");
        }
        self.pipeline_in(taxonomy, settings, store).await
    }

    /// [`Self::pipeline`] in a taxonomy, whether rows were led out of it or not.
    ///
    /// # Errors
    /// When the encoder can't be had, or the stage can't be built.
    pub async fn pipeline_in(&self, taxonomy: Taxonomy, settings: &Settings, store: &Store) -> anyhow::Result<Ready> {
        let taxonomy = Arc::new(taxonomy);
        store.sync_taxonomy(&taxonomy, clock::now()).await?;
        let base = models::pull(settings, None).await?;
        let entry = self.entry()?;
        let enricher = Enricher::open(store.clone()).await?;
        let mut roster = None;
        let lineup = if entry.engine == Engine::Adapter && self.adapter.is_none() {
            let bank = AdapterBank::open(&base)?.in_precision(settings.compute.precision).remembering(REMEMBERED);
            let mut registered = Roster::new(store.clone(), bank, entry, taxonomy.clone());
            registered.begin_with(Path::new(DEMO_ADAPTER), LOCAL, clock::now()).await?;
            let lineup = registered.lineup().await?;
            roster = Some(registered);
            lineup
        } else {
            let stage = self.stage(&entry, base, &taxonomy, &enricher, store, settings).await?;
            tell_what_is_fitted(&stage);
            Lineup::alone(stage)
        };
        let pipeline = Pipeline::new(store.clone(), enricher, lineup, self.audit_share);
        Ok(Ready { pipeline, taxonomy, roster })
    }

    async fn stage(
        &self,
        entry: &StageEntry,
        base: BaseEncoder,
        taxonomy: &Taxonomy,
        enricher: &Enricher,
        store: &Store,
        settings: &Settings,
    ) -> anyhow::Result<Stage> {
        let encoder = Encoder::load(base)?;
        let stages = self.files.load()?;
        let wants_adapter = entry.needs(Engine::Adapter, &stages) || entry.otherwise == Some(Otherwise::Adapter);
        let adapter = self.adapter.as_deref().filter(|_| wants_adapter);
        let adapter = adapter
            .map(|dir| {
                let bank = AdapterBank::beside(&encoder)?.in_precision(settings.compute.precision);
                bank.remembering(REMEMBERED).load(dir)
            })
            .transpose()?
            .map(Arc::new);
        let chat =
            if entry.needs(Engine::Prompt, &stages) { chat::model(settings, store, chat::Way::Calls)? } else { None };
        let examples = match &chat {
            Some(_) if entry.retrieves(&stages) => Some(Examples::live(encoder.clone(), store.clone()).await?),
            _ => None,
        };
        let labelled = match entry.engine {
            Engine::Adapter => Vec::new(),
            _ => labelled(store, enricher, taxonomy).await?,
        };
        let sources = Sources {
            stages: &stages,
            taxonomy,
            encoder,
            adapter,
            chat: chat.map(|chat| -> Arc<dyn ChatModel> { chat }),
            examples,
            prompts: &self.files.prompts,
            labelled: &labelled,
            calibrations: &roster::fitted(store, taxonomy).await?,
        };
        Ok(Stage::build(entry, &sources).await?)
    }
}

/// What people said of stored transactions in the words of a taxonomy, as far as a stage keeps it at hand.
async fn labelled(store: &Store, enricher: &Enricher, taxonomy: &Taxonomy) -> anyhow::Result<Vec<LabelledExample>> {
    let mut rows = store.labelled(MOST_LABELLED).await?;
    rows.retain(|row| taxonomy.contains(&row.category));
    let mut labelled = Vec::with_capacity(rows.len());
    for some in rows.chunks(ENRICHED_AT_ONCE) {
        let enriched = enricher.enrich(some.iter().map(|row| row.transaction.clone()).collect()).await?;
        let categories = some.iter().map(|row| row.category.clone());
        labelled.extend(enriched.into_iter().zip(categories).map(|(row, category)| LabelledExample::of(row, category)));
    }
    Ok(LabelledExample::in_order(labelled))
}

/// Says what a stage lacks that `txcat eval` would give it.
fn tell_what_is_fitted(stage: &Stage) {
    let name = &stage.name;
    if stage.acceptance.is_none() {
        tracing::warn!(
            stage = name,
            engine = stage.engine(),
            "Nothing is fitted for the stage: all its answers go to review, until txcat eval has measured it on dev"
        );
    }
    if let Some(fitted) = stage.fitted_with_other_labels() {
        tracing::warn!(
            stage = name,
            engine = stage.engine(),
            fitted_on = fitted,
            "The stage has other labels than those it was measured with: txcat eval measures it anew"
        );
    }
}
