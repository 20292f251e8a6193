//! From folders to folders: rows that are in no database, by this process or by a cluster.

use std::path::PathBuf;

use crate::{
    cli::{import::mapped, service::DEMO_ADAPTER},
    domain::Currency,
    evaluate::columns::DirectionDefault,
};

/// Which folders, and who answers.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Folders {
    /// Where rows are: a folder, a file or a pattern, on this machine or as s3://… Columns are named as for `import`.
    #[arg(long, value_name = "PLACE", requires = "to")]
    pub from: Option<String>,

    /// The folder for answers: a file for each file, with id, category, confidence, `confidence_level`, engine and
    /// `taxonomy_version`, or the problem that a row has.
    #[arg(long, value_name = "FOLDER", requires = "from")]
    pub to: Option<String>,

    /// The adapter that answers.
    #[arg(long, env = "TXCAT_ADAPTER", value_name = "DIR", default_value = DEMO_ADAPTER)]
    pub adapter: PathBuf,

    /// The taxonomy to answer in: a TOML file, or a data set's categories.csv. [default: the consumer taxonomy]
    #[arg(long, env = "TXCAT_TAXONOMY", value_name = "FILE")]
    pub taxonomy: Option<PathBuf>,

    /// With confidences and levels as they were fitted for the adapter in the database. [default: the adapter's own
    /// probabilities, and no levels: no database is asked]
    #[arg(long)]
    pub fitted: bool,

    /// Take a field from a column of another name, such as `descriptor=merchant`. May be repeated.
    #[arg(long, value_name = "FIELD=COLUMN", value_parser = mapped)]
    pub map: Vec<(&'static str, String)>,

    /// The currency of rows that don't name one (ISO 4217).
    #[arg(long, value_name = "CODE")]
    pub currency: Option<Currency>,

    /// The direction of rows that don't name one.
    #[arg(long, value_enum)]
    pub direction: Option<DirectionDefault>,

    /// A cluster's scheduler, such as df://10.0.0.1:50050; where it has no executor yet, one is waited for. [default:
    /// this process does the work]
    #[arg(long, env = "TXCAT_SCHEDULER", value_name = "URL")]
    #[expect(clippy::doc_markdown, reason = "--help prints it as it is")]
    pub scheduler: Option<String>,

    /// Tasks that a cluster makes of a big file at most.
    #[arg(long, value_name = "COUNT", default_value_t = 16, requires = "scheduler",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub tasks: u16,

    /// Files worked on at the same time. [default: 2; on a cluster 16]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub at_once: Option<u16>,

    /// Leave files that are there already as they are, and go on with the others.
    #[arg(long)]
    pub resume: bool,

    /// Print the counts as one JSON object.
    #[arg(long)]
    pub json: bool,
}

impl Folders {
    /// From where and to where, where both are given.
    pub(super) fn places(&self) -> Option<(String, String)> {
        self.from.clone().zip(self.to.clone())
    }
}

#[cfg(not(feature = "cluster"))]
impl Folders {
    #[expect(clippy::unused_async, reason = "it is async where it can do something")]
    pub(super) async fn run(self, _: &str, _: &str, _: &crate::cli::Settings) -> anyhow::Result<()> {
        anyhow::bail!("this txcat reads no Parquet files: build it with `--features cluster`")
    }
}

#[cfg(feature = "cluster")]
mod with_cluster {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use comfy_table::{Table, presets};
    use indicatif::HumanCount;

    use super::{super::Moving, Folders};
    use crate::{
        adapters::roster,
        cli::{
            Settings, models,
            service::{self, with_store},
        },
        cluster::{self, Asked, Count, Engines, Summary, Work},
        evaluate::columns::Mapping,
        model::AdapterBank,
    };

    impl Folders {
        pub(in super::super) async fn run(self, from: &str, to: &str, settings: &Settings) -> anyhow::Result<()> {
            let folders = cluster::Folders::new(from, to)?;
            let taxonomy = service::taxonomy(self.taxonomy.as_deref())?;
            let base = models::pull(settings, None).await?;
            let bank = AdapterBank::open(&base)?.in_precision(settings.compute.precision);
            let engines = Arc::new(Engines::load(&bank, taxonomy.clone(), &[&self.adapter])?);
            let engine = engines.names().swap_remove(0);
            let fitted = if self.fitted {
                let mut fitted =
                    with_store(settings, async |store| Ok(roster::fitted(store, &taxonomy).await?)).await?;
                let nothing = || anyhow::anyhow!("nothing is fitted for {engine}: `txcat eval` fits and stores it");
                Some(fitted.remove(&engine).ok_or_else(nothing)?)
            } else {
                None
            };
            let asked = Asked {
                engine,
                taxonomy: engines.taxonomy().to_owned(),
                currency: self.currency,
                direction: self.direction,
                fitted,
            };
            let mapping = Mapping {
                columns: self.map.into_iter().collect(),
                currency: self.currency,
                direction: self.direction,
                ..Mapping::default()
            };
            let here = cluster::alone()?;
            let (session, at_once) = match &self.scheduler {
                Some(scheduler) => (cluster::on_cluster(scheduler, self.tasks.into()).await?, 16),
                None => (here.clone(), 2),
            };
            let at_once = self.at_once.map_or(at_once, Into::into);
            let categorize = cluster::function(Some(engines));
            let work = Work { categorize, asked, mapping, at_once, resume: self.resume };
            let moving = Moving::begin("answered");
            let answered = AtomicU64::new(0);
            let told = |done: usize, all: usize, rows: u64| {
                moving.to()(done as u64, all as u64);
                answered.fetch_add(rows, Ordering::Relaxed);
            };
            let written = folders.run(&session, &work, &told).await?;
            moving.end_after(answered.into_inner());
            show(&Summary::of(&here, written).await?, self.json)
        }
    }

    fn show(summary: &Summary, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(summary)?);
            return Ok(());
        }
        let number = |rows: i64| HumanCount(rows.unsigned_abs()).to_string();
        println!("{} rows in {} files", number(summary.rows), HumanCount(summary.files as u64));
        println!("{} answered, {} refused", number(summary.answered), number(summary.refused));
        for (title, counts) in [("answered by", &summary.engines), ("refused because", &summary.problems)] {
            if !counts.is_empty() {
                let mut table = Table::new();
                table.load_preset(presets::UTF8_BORDERS_ONLY).set_header([title, "rows"]);
                table.add_rows(counts.iter().map(|Count { what, rows }| [what.clone(), number(*rows)]));
                println!("{table}");
            }
        }
        Ok(())
    }
}
