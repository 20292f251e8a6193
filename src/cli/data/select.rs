//! `txcat data select`: which rows of the pool to have labelled next.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::{
    cli::{Settings, labels, models},
    curate::{
        offers::{Covered, Offer, offers},
        opinions,
        select::{self, Evidence, Opinion, Pick, Summary},
        set,
    },
    domain::{EnrichedTransaction, Enrichment, Transaction, TransactionId},
    enrich::MerchantIndex,
    evaluate::{
        dataset::{self, Dataset},
        market::Market,
        pool::Pool,
        timelines::Timelines,
    },
    model::{
        AdapterBank, AdapterInput, AdapterModel, Encoder, Labelled, argmax,
        folds::{self, Aids},
    },
};

/// Picks the rows of the pool that are worth an expert's time, and says why.
///
/// From nothing, by the traffic of merchants and by how unlike they are. With labels that were bought already,
/// also by how doubtful today's answers are and by whether known keys, nearest labelled row, encoder and the
/// answer in force disagree; those answers are the adapter's, or else a wide part's that learns the labels now.
/// Of the pool's category column nothing is read but the labels that --labels names.
#[derive(Debug, clap::Args)]
pub struct Select {
    /// The data set's folder: categories.csv, pool and dev as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// How many rows to pick.
    #[arg(long, value_name = "N")]
    pub budget: usize,

    /// Rows whose labels were bought already: one id a line.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// An adapter that learned from those labels.
    #[arg(long, value_name = "DIR", requires = "labels")]
    pub adapter: Option<PathBuf>,

    /// Write the picked ids, one a line. With those of --labels they are what `txcat train --labels` takes.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Write the picked rows as CSV with an empty category column, for the experts to fill in.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Seeds the wide part's training.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    labels: usize,
    picks: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    reasons: Vec<&'static str>,
    traffic: f64,
    doubt: f32,
}

/// The pool, and what surrounds it.
struct Chooser {
    dataset: Dataset,
    pool: Pool,
    merchants: Arc<MerchantIndex>,
    encoder: Encoder,
}

impl Select {
    /// Picks, writes and prints.
    ///
    /// # Errors
    /// When the data set, the encoder or the adapter can't be read, or a file can't be written.
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        ensure!(self.budget > 0, "--budget 0 picks nothing");
        let base = models::pull(settings, None).await?;
        let encoder = Encoder::load(base)?;
        let adapter = self
            .adapter
            .as_deref()
            .map(|dir| AdapterBank::beside(&encoder)?.in_precision(settings.compute.precision).load(dir))
            .transpose()?;
        let chooser = tokio::task::block_in_place(|| Chooser::read(&self.data, encoder))?;
        let bought = self.labels.as_deref().map(labels::ids).transpose()?.unwrap_or_default();
        let places = chooser.pool.places(&bought);
        let there: HashSet<&TransactionId> = places.iter().map(|&place| &chooser.pool.rows[place].id).collect();
        dataset::Error::unless_all(&bought, |id| there.contains(id))?;
        let bought = places;
        let market = Market::new(&chooser.pool.candidates);
        let covered = Covered::by(bought.iter().map(|&place| &chooser.pool.candidates[place]));
        let open = offers(&market, &covered, |_| true);
        let vectors = chooser.vectors(open.iter().map(|offer| offer.row)).await?;
        let labelled = chooser.vectors(bought.iter().copied()).await?;
        let opinions = if bought.is_empty() {
            Vec::new()
        } else {
            let asked = Asked { offers: &open, vectors: &vectors, bought: &bought, labelled: &labelled };
            chooser.opinions(&asked, adapter.as_ref(), self.seed).await?
        };
        let evidence = Evidence { vectors: &vectors, labelled: &labelled, opinions: &opinions };
        let picks = select::select(&open, evidence, self.budget);
        let summary = select::summary(&market, &covered, &open, &picks);
        let ids: String = picks.iter().flat_map(|pick| [chooser.pool.rows[pick.row].id.as_str(), "\n"]).collect();
        fs::write(&self.out, ids).with_context(|| format!("can't write {}", self.out.display()))?;
        if let Some(path) = &self.csv {
            chooser.write(path, &picks, &opinions)?;
        }
        self.print(&chooser, &summary, &picks, bought.len())
    }

    fn print(&self, chooser: &Chooser, summary: &Summary, picks: &[Pick], labels: usize) -> anyhow::Result<()> {
        if self.json {
            let row = |pick: &'_ Pick| Row {
                id: chooser.pool.rows[pick.row].id.as_str(),
                reasons: pick.reasons.iter().map(|reason| reason.as_str()).collect(),
                traffic: pick.traffic,
                doubt: pick.doubt,
            };
            let picks = picks.iter().map(row).collect();
            println!("{}", serde_json::to_string(&Printed { summary, labels, picks })?);
            return Ok(());
        }
        println!("{}\n{}", table(summary), first(chooser, picks));
        println!(
            "{} rows picked beside {labels} labels; merchants with a label cover {:.1} % of the pool's rows, {:.1} % before",
            summary.picked,
            100.0 * summary.covered_after,
            100.0 * summary.covered_before
        );
        println!("written to {}", self.out.display());
        Ok(())
    }
}

/// What opinions are asked about, and from what.
struct Asked<'a> {
    offers: &'a [Offer],
    vectors: &'a [Vec<f32>],
    bought: &'a [usize],
    labelled: &'a [Vec<f32>],
}

impl Chooser {
    fn read(dir: &Path, encoder: Encoder) -> anyhow::Result<Self> {
        let dataset = Dataset::open(dir)?;
        let bar = ProgressBar::new_spinner().with_message("reading");
        let pool = Pool::read(&dataset, || bar.inc(1))?;
        bar.finish_and_clear();
        Ok(Self { dataset, pool, merchants: MerchantIndex::shipped(), encoder })
    }

    async fn vectors(&self, places: impl Iterator<Item = usize>) -> anyhow::Result<Vec<Vec<f32>>> {
        let texts = places.map(|place| self.pool.rows[place].descriptor.merchant().to_lowercase()).collect();
        Ok(self.encoder.embed(texts).await?)
    }

    fn input(&self, timelines: &Timelines, row: &Transaction, enrichment: Enrichment) -> AdapterInput {
        let enriched: EnrichedTransaction = timelines.enriched(row, |row| self.merchants.of(row));
        AdapterInput::of(&enriched, enrichment)
    }

    async fn opinions(
        &self,
        of: &Asked<'_>,
        adapter: Option<&AdapterModel>,
        seed: u64,
    ) -> anyhow::Result<Vec<Opinion>> {
        let taxonomy = self.dataset.taxonomy();
        if let Some(adapter) = adapter {
            let slugs = taxonomy.assignable().iter().map(|category| category.slug.as_str());
            ensure!(
                adapter.facts().categories.iter().map(String::as_str).eq(slugs),
                "the adapter has other categories"
            );
        }
        let enrichment = adapter.map_or(Enrichment::None, |adapter| adapter.facts().enrichment);
        let ids: HashSet<_> = of.bought.iter().map(|&place| self.pool.rows[place].id.clone()).collect();
        let rows = self.pool.open(&self.dataset, &ids)?;
        let timelines = self.pool.timelines_with(&rows);
        let weights = Market::new(&self.pool.candidates).weights(of.bought);
        let labelled: Vec<Labelled> = rows
            .iter()
            .zip(weights)
            .map(|(row, weight)| Labelled {
                input: self.input(&timelines, &row.transaction, enrichment),
                class: taxonomy.index_of(&row.category).unwrap_or_default(),
                weight,
            })
            .collect();
        let asked: Vec<AdapterInput> =
            of.offers.iter().map(|offer| self.input(&timelines, &self.pool.rows[offer.row], enrichment)).collect();
        let mut others =
            vec![opinions::memory(&labelled, &asked), opinions::nearest(&labelled, of.labelled, of.vectors)];
        let in_force: Vec<Vec<f32>> = match adapter {
            Some(adapter) => {
                let outputs = adapter.classify(asked).await?;
                others.push(outputs.iter().map(|output| Some(argmax(&output.encoder_probabilities))).collect());
                outputs.into_iter().map(|output| output.probabilities).collect()
            }
            None => tokio::task::block_in_place(|| {
                let texts = set::texts(&self.pool.rows);
                let asked: Vec<&AdapterInput> = asked.iter().collect();
                let aids = Aids { terms: &[], texts: &texts };
                folds::after_training(&labelled, aids, &asked, taxonomy.assignable().len(), seed)
            }),
        };
        Ok(opinions::opinions(&in_force, &others))
    }

    fn write(&self, path: &Path, picks: &[Pick], opinions: &[Opinion]) -> anyhow::Result<()> {
        let mut file = csv::Writer::from_path(path).with_context(|| format!("can't write {}", path.display()))?;
        file.write_record([
            "id",
            "posted_on",
            "descriptor",
            "amount",
            "direction",
            "currency",
            "reasons",
            "suggested",
            "confidence",
            "category",
        ])?;
        for pick in picks {
            let row = &self.pool.rows[pick.row];
            let opinion = opinions.get(pick.offer);
            let slug = |opinion: &Opinion| self.dataset.taxonomy().assignable()[opinion.answer].slug.to_string();
            file.write_record([
                row.id.as_str(),
                &row.posted_at.format("%F").to_string(),
                row.descriptor.raw(),
                &row.amount.amount().to_string(),
                row.direction.as_str(),
                row.amount.currency().code(),
                &reasons(pick),
                &opinion.map_or_else(String::new, slug),
                &opinion.map_or_else(String::new, |opinion| format!("{:.2}", opinion.confidence)),
                "",
            ])?;
        }
        Ok(file.flush()?)
    }
}

fn reasons(pick: &Pick) -> String {
    pick.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(" ")
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Why, in numbers.
fn table(summary: &Summary) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["reason", "rows", "their merchants' share of the pool, %"]);
    for of in &summary.reasons {
        table.add_row([Cell::new(of.reason.as_str()), right(of.picks), right(format!("{:.1}", 100.0 * of.traffic))]);
    }
    table
}

/// The first picks.
fn first(chooser: &Chooser, picks: &[Pick]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["first picks", "why", "traffic", "doubt"]);
    for pick in picks.iter().take(10) {
        let text = chooser.pool.rows[pick.row].descriptor.raw();
        table.add_row([
            Cell::new(text),
            Cell::new(reasons(pick)),
            right(format!("{:.0}", pick.traffic)),
            right(format!("{:.2}", pick.doubt)),
        ]);
    }
    table
}
