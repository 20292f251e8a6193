//! `txcat finetune export`: labelled rows as a training file.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};

use crate::{
    categorize::{LabelledExample, Wording},
    cli::{
        Settings, models,
        service::StageFiles,
        train::{LabelledRows, Source},
    },
    curate::{self, LabelledSet},
    domain::Taxonomy,
    enrich::{Enricher, Examples, examples::LabelledText},
    evaluate::dataset,
    finetune::{
        export::{Exporter, Format, Labelled},
        validate::LEAST_LINES,
    },
    model::Encoder,
    store::{LabelledTransaction, Store},
};

/// Writes one training line for each labelled row: the words that a stage asks about that row with, and the right answer.
///
/// Labels must have passed `txcat data check`, as for `txcat train`. Preferences (dpo) come from the database: rows
/// whose prediction a person corrected. What is personal in a row is covered. Rows whose text talks to a model are left
/// out, and so are rows that the prompt shows as worked examples, answer and all.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Whose form.
    #[arg(long, value_enum)]
    pub format: Format,

    /// The data set's folder: categories.csv, pool and dev as .csv or .csv.gz.
    #[arg(long, value_name = "DIR", required_unless_present = "taxonomy", conflicts_with = "taxonomy")]
    pub data: Option<PathBuf>,

    /// What preferences answer in: a TOML file, or a data set's categories.csv; `consumer` is the one that ships.
    #[arg(long, value_name = "FILE")]
    pub taxonomy: Option<PathBuf>,

    /// How many labels of the pool may be looked at.
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    pub label_budget: usize,

    /// Look at the labels of these rows instead: one id a line, at most --label-budget.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// The manifest of `txcat data check` on these labels. [default: manifest.json in the data set's folder,
    /// or else the labels are checked now]
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// Write labels that were not checked, or did not pass, for this reason.
    #[arg(long, value_name = "REASON", conflicts_with = "manifest")]
    pub without_check: Option<String>,

    /// The stage that will ask the tuned model: lines show its prompt, its worked examples, as much of the enrichment as
    /// it may look at, and the labelled transactions that it would retrieve, less the row's own label.
    #[arg(long, value_name = "NAME")]
    pub stage: String,

    /// Where stages and prompts are.
    #[command(flatten)]
    pub files: StageFiles,

    /// Draws the choice of labels, as `txcat train --seed` does.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Where the lines are written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Print one JSON object instead of a sentence.
    #[arg(long)]
    pub json: bool,
}

/// What is exported.
struct Rows {
    taxonomy: Arc<Taxonomy>,
    rows: Vec<Labelled>,
    /// What the label gate says: a name and a hash, or why it was not asked.
    checked: (String, String),
}

impl Export {
    /// Whether the rows are in the database.
    pub(super) fn needs_database(&self) -> bool {
        self.format == Format::Dpo
    }

    pub(super) async fn run(self, settings: &Settings, store: Option<&Store>) -> anyhow::Result<()> {
        let stages = self.files.load()?;
        let entry = stages.entry(&self.stage)?;
        let prompt = self.files.prompt(entry)?;
        let version = prompt.version().to_owned();
        let Rows { taxonomy, rows, checked } = match store {
            Some(store) => self.corrections(store).await?,
            None => self.labelled()?,
        };
        let labelled: Vec<LabelledExample> = rows.iter().map(|of| of.example.clone()).collect();
        let examples = match entry.retrieve {
            0 => None,
            _ => {
                let encoder = Encoder::load(models::pull(settings, None).await?)?;
                Some(match store {
                    Some(store) => Examples::live(encoder, store.clone()).await?,
                    None => {
                        let text = |of: &LabelledExample| LabelledText::of(&of.transaction.transaction, &of.category);
                        Examples::fixed(encoder, labelled.iter().map(text)).await?
                    }
                })
            }
        };
        let wording = Wording::of_stage(entry, prompt, &taxonomy, &labelled, examples)?;
        let exporter = Exporter::new(wording, self.format);
        let file = fs::File::create(&self.out).with_context(|| format!("can't write {}", self.out.display()))?;
        let mut out = BufWriter::new(file);
        let counts = exporter.write(&rows, &mut out).await?;
        out.flush()?;
        if self.json {
            let told = serde_json::json!({
                "exported": counts.exported, "redacted": counts.redacted, "refused": counts.refused, "shown": counts.shown,
                "checked": checked.1, "stage": self.stage, "prompt": version, "out": self.out,
            });
            println!("{told}");
            return Ok(());
        }
        println!(
            "{} rows exported to {} as `{}` asks about them ({version}), {} of them redacted; {} refused because they talk \
             to the model, {} left out because its prompt shows them with their answer ({}: {})",
            counts.exported,
            self.out.display(),
            self.stage,
            counts.redacted,
            counts.refused,
            counts.shown,
            checked.0,
            checked.1
        );
        Ok(())
    }

    fn labelled(&self) -> anyhow::Result<Rows> {
        let Some(data) = self.data.clone() else { bail!("--data is missing") };
        let source = Source {
            data,
            label_budget: self.label_budget,
            labels: self.labels.clone(),
            lexicon: None,
            plain_text: false,
            seed: self.seed,
            manifest: self.manifest.clone(),
            without_check: self.without_check.clone(),
        };
        let LabelledRows { taxonomy, rows, checked } = source.labelled()?;
        let labelled = |example| Labelled { example, instead_of: None };
        Ok(Rows { taxonomy, rows: rows.into_iter().map(labelled).collect(), checked })
    }

    /// Corrected rows, less those that the label gate keeps out.
    async fn corrections(&self, store: &Store) -> anyhow::Result<Rows> {
        let taxonomy = Arc::new(self.categories()?);
        let mut corrected = store.corrected(u32::try_from(self.label_budget).unwrap_or(u32::MAX)).await?;
        corrected.retain(|row| taxonomy.contains(&row.predicted) && taxonomy.contains(&row.category));
        ensure!(
            corrected.len() >= LEAST_LINES,
            "people have corrected {} predictions; providers take {LEAST_LINES} preferences or more",
            corrected.len()
        );
        let checked = match &self.without_check {
            Some(reason) => ("labels were not checked, because".to_owned(), reason.clone()),
            None => {
                let labelled = |row: &crate::store::CorrectedTransaction| LabelledTransaction {
                    transaction: row.transaction.clone(),
                    category: row.category.clone(),
                    labelled_by: String::new(),
                    at_random: false,
                };
                let rows = corrected.iter().map(labelled).collect();
                let set = LabelledSet::of_store("corrections".to_owned(), Arc::clone(&taxonomy), rows);
                let outcome =
                    curate::check(&set, &[], None, curate::Settings { seed: self.seed, ..curate::Settings::default() });
                ensure!(
                    outcome.manifest.passed,
                    "the corrections are not fit to learn from: `txcat data check` shows why, --without-check overrides"
                );
                let kept: Vec<_> = outcome.kept(&set).map(|place| set.examples[place].transaction.id.clone()).collect();
                corrected.retain(|row| kept.contains(&row.transaction.id));
                ("label manifest".to_owned(), outcome.manifest.sha256)
            }
        };
        let transactions = corrected.iter().map(|row| row.transaction.clone()).collect();
        let enriched = Enricher::new(store.clone()).enrich(transactions).await?;
        let pair = |(row, of): (_, crate::store::CorrectedTransaction)| Labelled {
            example: LabelledExample { transaction: row, category: of.category },
            instead_of: Some(of.predicted),
        };
        Ok(Rows { taxonomy, rows: enriched.into_iter().zip(corrected).map(pair).collect(), checked })
    }

    fn categories(&self) -> anyhow::Result<Taxonomy> {
        let Some(path) = &self.taxonomy else {
            let data = self.data.as_ref().context("--data or --taxonomy says what to answer in")?;
            return Ok(dataset::taxonomy(&data.join("categories.csv"))?);
        };
        if path.as_os_str() == "consumer" {
            return Ok(Taxonomy::consumer()?);
        }
        if path.extension().is_some_and(|ending| ending == "csv") {
            return Ok(dataset::taxonomy(path)?);
        }
        let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        Taxonomy::from_toml(&text).with_context(|| format!("{} is no taxonomy", path.display()))
    }
}
