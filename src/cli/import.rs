//! `txcat import`: a file of transactions into the database, and on their way.

pub mod reader;
mod rejects;

use std::{fs::File, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, bail, ensure};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Settings,
    service::{Serving, share64, with_store},
};
use crate::{
    clock,
    domain::{Currency, Slug, Taxonomy, Transaction, transaction::FIELDS},
    evaluate::columns::{DirectionDefault, Mapping},
    pipeline::{Memory, Pipeline},
    store::{ImportedLabel, Ingested, Store},
};
use reader::{Format, Line, Rows};
use rejects::Rejects;

/// Rows in one database transaction and one call of the pipeline.
const BATCH: usize = 1_000;

/// Reads transactions from a CSV or JSON-lines file, plain or gzip, and takes them on their way.
///
/// Columns (or members) are named after the fields: id, `account_id`, `posted_at` (or `posted_on`), amount,
/// currency, direction, descriptor, and optionally mcc, country, channel, counterparty, status, replaces.
/// Others are passed over.
///
/// The file is streamed. A row that can't be taken goes to FILE.rejects.jsonl with its line, its id, the column and the
/// reason, and the others go on: that is a success, exit code 0, with the count of rejected rows printed, unless
/// --max-rejected says how many are too many. A file or database that fails ends the command with exit code 1, wrong options with 2. Rows that are there already
/// are not stored again, so an import that was interrupted is run again as it was.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The file: .csv, .jsonl or .ndjson, with or without .gz.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Take a field from a column of another name, such as `descriptor=merchant`. May be repeated.
    #[arg(long, value_name = "FIELD=COLUMN", value_parser = mapped)]
    pub map: Vec<(&'static str, String)>,

    /// A column with categories known to be right: they are kept as labels, known since the row was posted.
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,

    /// The currency of rows that don't name one (ISO 4217).
    #[arg(long, value_name = "CODE")]
    pub currency: Option<Currency>,

    /// The direction of rows that don't name one.
    #[arg(long, value_enum)]
    pub direction: Option<DirectionDefault>,

    /// Give rows without an id one made of their line and content.
    #[arg(long)]
    pub id_from_row: bool,

    /// Store the rows only; they are categorized when they come again.
    #[arg(long)]
    pub no_categorize: bool,

    /// End with exit code 1 where a larger share of the rows than this can't be taken, conflicting ones included. The
    /// others are stored all the same.
    #[arg(long, value_name = "SHARE", value_parser = share64)]
    pub max_rejected: Option<f64>,

    /// Print the counts as one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Which stage answers.
    #[command(flatten)]
    pub serving: Serving,
}

/// `FIELD=COLUMN`.
pub(super) fn mapped(text: &str) -> Result<(&'static str, String), String> {
    let (field, column) = text.split_once('=').ok_or("must be FIELD=COLUMN")?;
    let field = FIELDS.into_iter().find(|known| *known == field);
    Ok((field.ok_or_else(|| format!("the fields are {}", FIELDS.join(", ")))?, column.to_owned()))
}

/// What became of a file's rows.
#[derive(Debug, Default, Serialize)]
struct Counts {
    /// Rows in the file.
    rows: u64,
    /// Stored now.
    new: u64,
    /// There already, with the same content.
    known: u64,
    /// Refused: the id is taken by other content.
    conflicting: u64,
    /// Refused for another reason.
    rejected: u64,
    /// Labels that were not known before.
    labels: u64,
    /// Rows in a second.
    rows_per_s: f64,
}

/// Runs the command.
///
/// # Errors
/// When the file can't be read to its end, or the database or the stage fails.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let taxonomy = Arc::new(options.serving.taxonomy()?);
    let size = options.file.metadata().with_context(|| format!("can't read {}", options.file.display()))?.len();
    let bar = ProgressBar::new(size);
    let style = "{bytes}/{total_bytes} {wide_bar} {msg} {elapsed} {eta}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let rows = options.open(&bar, &taxonomy)?;

    let imported = with_store(settings, async |store| import(&options, settings, store, rows, &bar).await).await;
    bar.finish_and_clear();
    let (counts, rejects) = imported?;
    counts.tell(&options, &rejects)?;
    let refused = counts.conflicting + counts.rejected;
    let most = options.max_rejected.unwrap_or(1.0);
    ensure!(
        refused as f64 <= most * counts.rows as f64,
        "{refused} of {} rows can't be taken, more than the share of {most} that may{rejects}",
        counts.rows
    );
    Ok(())
}

impl Counts {
    fn tell(&self, options: &Options, rejects: &str) -> anyhow::Result<()> {
        if options.json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let Self { rows, new, known, conflicting, rejected, labels, rows_per_s } = *self;
        println!("{} rows, {rows_per_s:.0} a second", HumanCount(rows));
        println!("{} new, {} known", HumanCount(new), HumanCount(known));
        println!("{} conflicting, {} rejected{rejects}", HumanCount(conflicting), HumanCount(rejected));
        if options.labels.is_some() {
            println!("{} new labels", HumanCount(labels));
        }
        Ok(())
    }
}

impl Options {
    fn open(&self, bar: &ProgressBar, taxonomy: &Arc<Taxonomy>) -> anyhow::Result<Rows> {
        let shown = self.file.display();
        let file = File::open(&self.file).with_context(|| format!("can't read {shown}"))?;
        let mapping = Mapping {
            columns: self.map.iter().cloned().collect(),
            labels: self.labels.clone(),
            currency: self.currency,
            direction: self.direction,
            id_from_row: self.id_from_row,
        };
        let format = Format::of(&self.file.to_string_lossy());
        let format = format.with_context(|| format!("{shown} must be .csv, .jsonl or .ndjson, with or without .gz"))?;
        let rows = Rows::open(bar.wrap_read(file), format, mapping, Arc::clone(taxonomy))
            .with_context(|| format!("can't read {shown}"))?;
        let missing = rows.missing_columns();
        ensure!(
            missing.is_empty(),
            "{shown} has no column for {}: name one with --map, or see --id-from-row, --currency and --direction",
            missing.join(", ")
        );
        let repeated = rows.repeated_columns();
        ensure!(repeated.is_empty(), "{shown} has more than one column named {}", repeated.join(", "));
        Ok(rows)
    }
}

async fn import(
    options: &Options,
    settings: &Settings,
    store: &Store,
    rows: Rows,
    bar: &ProgressBar,
) -> anyhow::Result<(Counts, String)> {
    let taxonomy = options.serving.taxonomy_to_write(store).await?;
    let rows = rows.labelled_in(Arc::new(taxonomy.clone()));
    let way = match options.no_categorize {
        true => None,
        false => {
            let pipeline = options.serving.pipeline_in(taxonomy, settings, store).await?.pipeline;
            let memory = Memory::open(store, &pipeline.lineup().engines(), clock::now()).await?;
            Some((pipeline, memory))
        }
    };
    let imported = take_all(options, store, rows, way.as_ref(), bar).await;
    // What adapters in the shadow are at is done to the end, whatever became of the file.
    if let Some((pipeline, _)) = &way {
        pipeline.settle().await;
    }
    imported
}

async fn take_all(
    options: &Options,
    store: &Store,
    rows: Rows,
    way: Option<&(Pipeline, Memory)>,
    bar: &ProgressBar,
) -> anyhow::Result<(Counts, String)> {
    let mut rejects = Rejects::new(&options.file, rows.columns())?;
    let mut counts = Counts::default();
    let start = Instant::now();
    let (sender, mut batches) = mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || read(rows, &sender));
    while let Some(batch) = batches.recv().await {
        take(batch, store, way, &mut counts, &mut rejects).await?;
        counts.rows_per_s = counts.rows as f64 / start.elapsed().as_secs_f64().max(1e-9);
        bar.set_message(format!("{} rows, {:.0}/s", HumanCount(counts.rows), counts.rows_per_s));
    }
    if let Err(error) = reading.await? {
        bail!("{} can't be read on after row {}: {error}", options.file.display(), counts.rows);
    }
    Ok((counts, rejects.finish()?))
}

/// Reads on another thread while the database works; two batches at most wait in between.
fn read(rows: Rows, batches: &mpsc::Sender<Vec<Line>>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut read = Ok(());
    for line in rows {
        match line {
            Ok(line) => batch.push(line),
            Err(error) => {
                read = Err(error);
                break;
            }
        }
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if batches.blocking_send(full).is_err() {
                return Ok(());
            }
        }
    }
    // Fails only when nobody listens any more.
    _ = batches.blocking_send(batch);
    read
}

/// Takes one batch on its way. Rows are stored first, so that whatever stops the command after that is
/// made good when the same rows come again.
async fn take(
    batch: Vec<Line>,
    store: &Store,
    way: Option<&(Pipeline, Memory)>,
    counts: &mut Counts,
    rejects: &mut Rejects,
) -> anyhow::Result<()> {
    counts.rows += batch.len() as u64;
    let mut places = Vec::with_capacity(batch.len());
    let mut transactions: Vec<Transaction> = Vec::with_capacity(batch.len());
    let mut labels: Vec<Option<Slug>> = Vec::with_capacity(batch.len());
    for Line { number, id, row } in batch {
        match row {
            Ok((transaction, label)) => {
                places.push(number);
                transactions.push(transaction);
                labels.push(label);
            }
            Err(reject) => {
                counts.rejected += 1;
                rejects.write(number, id.as_deref(), reject.field(), &reject.to_string())?;
            }
        }
    }
    let now = clock::now();
    let ingested = store.ingest(&transactions, now).await?;
    let mut known = Vec::new();
    for (((transaction, label), number), ingested) in transactions.iter().zip(labels).zip(places).zip(&ingested) {
        let (count, field, reason) = match ingested {
            Ingested::New | Ingested::Known => {
                *(if *ingested == Ingested::New { &mut counts.new } else { &mut counts.known }) += 1;
                known.extend(label.map(|category| ImportedLabel {
                    transaction_id: transaction.id.clone(),
                    category,
                    known_at: transaction.posted_at,
                }));
                continue;
            }
            Ingested::Conflict => (&mut counts.conflicting, "id", "is taken by a row with other content"),
            Ingested::ReplacesUnknown => (&mut counts.rejected, "replaces", "names no pending row of this account"),
            Ingested::AlreadyReplaced => (&mut counts.rejected, "replaces", "names a row that another has replaced"),
        };
        *count += 1;
        rejects.write(number, Some(transaction.id.as_str()), Some(field), reason)?;
    }
    counts.labels += store.import_labels(&known, "import", now).await?;
    if let Some((pipeline, memory)) = way {
        pipeline.categorize(&transactions, &ingested, memory, now).await?;
    }
    Ok(())
}
