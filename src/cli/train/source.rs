//! Which data set and which of its labels an adapter is trained on.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    categorize::LabelledExample,
    cli::labels::LabelChoice,
    curate::{self, LabelledSet, Manifest, Which, manifest},
    domain::{Descriptor, Enrichment, Slug, Taxonomy},
    enrich::MerchantIndex,
    evaluate::{
        corpus::Corpus,
        dataset::{Dataset, Row},
        labels::Choice,
        timelines::Timelines,
    },
    model::{
        AdapterInput, Labelled, Naming,
        facts::{LABELS, MANIFEST},
        train::TrainRows,
    },
};

/// Where labels come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Source {
    /// The data set's folder: categories.csv, pool and dev as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    // Not a flattened `LabelChoice`: clap can't tell whether a struct with nested options is there.
    /// How many labels of the pool may be looked at.
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    pub label_budget: usize,

    /// Look at the labels of these rows instead: one id a line, at most --label-budget.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// A lexicon (CSV: term, category, weight): terms that hint at a category, as weak rows and as features.
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,

    /// Let the encoder read the descriptor, amount and direction only.
    #[arg(long)]
    pub plain_text: bool,

    /// Seeds everything random, the choice of labels included.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// The manifest of `txcat data check` on these labels. [default: manifest.json in the data set's folder,
    /// or else the labels are checked now]
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// Train on labels that were not checked, or did not pass; the adapter says so, with this reason.
    #[arg(long, value_name = "REASON", conflicts_with = "manifest")]
    pub without_check: Option<String>,
}

/// Rows to train on, and what is to be said about them.
pub(in crate::cli) struct Prepared {
    pub(in crate::cli) rows: TrainRows,
    pub(in crate::cli) naming: Naming,
}

/// Labelled rows for others to train on.
pub(in crate::cli) struct LabelledRows {
    pub(in crate::cli) taxonomy: Arc<Taxonomy>,
    pub(in crate::cli) rows: Vec<LabelledExample>,
    /// What the label gate says: a name and a hash, or why it was not asked.
    pub(in crate::cli) checked: (String, String),
}

impl Source {
    /// Reads pool and dev, and buys the labels. Unlabelled texts serve the wide part alone.
    ///
    /// # Errors
    /// When the data set or a named file can't be read.
    pub(in crate::cli) fn prepare(&self, wide: bool) -> anyhow::Result<Prepared> {
        let dataset = Dataset::open(&self.data)?;
        let taxonomy = Arc::clone(dataset.taxonomy());
        let bar = ProgressBar::new_spinner().with_message("reading");
        let corpus = Corpus::read(&dataset, self.choice()?, || bar.inc(1))?;
        let checked = self.checked(&dataset, &corpus)?;
        let mut seen = HashSet::new();
        let mut texts = Vec::new();
        let pool = wide.then(|| dataset.file("pool")).transpose()?;
        for transaction in pool.map(|pool| dataset.transactions(pool)).transpose()?.into_iter().flatten() {
            let descriptor = transaction?.descriptor;
            if seen.insert(descriptor.raw().to_lowercase()) {
                texts.push(AdapterInput::of_descriptor(&descriptor));
            }
        }
        let dev: Vec<Row> = dataset.rows(dataset.file("dev")?)?.collect::<Result<_, _>>()?;
        let terms = self.terms(&taxonomy)?;
        bar.finish_and_clear();

        let merchants = MerchantIndex::shipped();
        let labelled = |row: &Row, weight| self.as_read(row, weight, &corpus.timelines, &merchants, &taxonomy);
        let weight = |row: &Row| corpus.labels.weights.get(&row.transaction.id).copied().unwrap_or(1.0);
        let rows = TrainRows {
            rows: corpus.rows.iter().map(|row| labelled(row, weight(row))).collect(),
            terms,
            dev: dev.iter().map(|row| labelled(row, 1.0)).collect(),
            texts,
        };
        let mut sources = BTreeMap::from([(LABELS.to_owned(), corpus.labels.digest()), checked]);
        for name in ["pool", "dev"] {
            sources.insert(format!("{name} of the data set"), hex::encode(dataset.file(name)?.sha256()?));
        }
        if let Some(path) = &self.lexicon {
            let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
            sources.insert("lexicon".to_owned(), hex::encode(Sha256::digest(bytes)));
        }
        let folder = self.data.canonicalize().unwrap_or_else(|_| self.data.clone());
        let naming = Naming {
            data: format!(
                "{} labels of the data set `{}`",
                rows.rows.len(),
                folder.file_name().unwrap_or_default().to_string_lossy()
            ),
            taxonomy: taxonomy.version().to_owned(),
            enrichment: self.enrichment(),
            categories: taxonomy.assignable().iter().map(|category| category.slug.to_string()).collect(),
            sources,
            effort: None,
        };
        Ok(Prepared { rows, naming })
    }

    /// The rows of files of the data set as an adapter reads them, with the history that the bought labels give.
    ///
    /// # Errors
    /// When the data set can't be read, or has no such file.
    pub(in crate::cli) fn files(&self, names: &[String]) -> anyhow::Result<(Arc<Taxonomy>, Vec<Vec<Labelled>>)> {
        let dataset = Dataset::open(&self.data)?;
        let taxonomy = Arc::clone(dataset.taxonomy());
        let bar = ProgressBar::new_spinner().with_message("reading");
        let corpus = Corpus::read(&dataset, self.choice()?, || bar.inc(1))?;
        let merchants = MerchantIndex::shipped();
        let file = |name: &String| -> anyhow::Result<Vec<Labelled>> {
            let rows: Vec<Row> = dataset.rows(dataset.file(name)?)?.collect::<Result<_, _>>()?;
            // Dev is part of the corpus already.
            let with = if name == "dev" { None } else { Some(corpus.timelines_with(&rows)) };
            let timelines = with.as_ref().unwrap_or(&corpus.timelines);
            Ok(rows.iter().map(|row| self.as_read(row, 1.0, timelines, &merchants, &taxonomy)).collect())
        };
        let files = names.iter().map(file).collect::<Result<_, _>>()?;
        bar.finish_and_clear();
        Ok((taxonomy, files))
    }

    /// The rows whose labels were bought, with what is known around them, and what the label gate says of them.
    ///
    /// # Errors
    /// When the data set can't be read, or the labels are not fit to learn from.
    pub(in crate::cli) fn labelled(&self) -> anyhow::Result<LabelledRows> {
        let dataset = Dataset::open(&self.data)?;
        let bar = ProgressBar::new_spinner().with_message("reading");
        let corpus = Corpus::read(&dataset, self.choice()?, || bar.inc(1))?;
        let checked = self.checked(&dataset, &corpus)?;
        bar.finish_and_clear();
        let merchants = MerchantIndex::shipped();
        let rows = corpus.labelled(|row| merchants.of(row));
        Ok(LabelledRows { taxonomy: Arc::clone(dataset.taxonomy()), rows, checked })
    }

    /// A row as an adapter reads it, with the merchants that serving and evaluation start from.
    fn as_read(
        &self,
        row: &Row,
        weight: f32,
        timelines: &Timelines,
        merchants: &MerchantIndex,
        taxonomy: &Taxonomy,
    ) -> Labelled {
        Labelled {
            input: AdapterInput::of(&timelines.enriched(&row.transaction, |row| merchants.of(row)), self.enrichment()),
            class: taxonomy.index_of(&row.category).unwrap_or_default(),
            weight,
        }
    }

    fn choice(&self) -> anyhow::Result<Choice> {
        LabelChoice { label_budget: self.label_budget, labels: self.labels.clone() }.choice(self.seed)
    }

    fn terms(&self, taxonomy: &Taxonomy) -> anyhow::Result<Vec<Labelled>> {
        self.lexicon.as_deref().map_or_else(|| Ok(Vec::new()), |path| lexicon(path, taxonomy))
    }

    /// What the label gate says of these rows, for the adapter's sources. Where nothing was said yet it
    /// is asked now; test files stay shut.
    fn checked(&self, dataset: &Dataset, corpus: &Corpus) -> anyhow::Result<(String, String)> {
        if let Some(reason) = &self.without_check {
            return Ok(("labels were not checked, because".to_owned(), reason.clone()));
        }
        let beside = self.data.join(manifest::FILE);
        let manifest = match self.manifest.clone().or_else(|| beside.exists().then_some(beside)) {
            Some(path) => Manifest::read(&path)?,
            None => {
                let mut set = LabelledSet::read(dataset, Which::Chosen(self.choice()?), || {})?;
                set.terms = self.terms(dataset.taxonomy())?;
                curate::check(&set, &[], None, curate::Settings { seed: self.seed, ..Default::default() }).manifest
            }
        };
        let rows = corpus.rows.iter().map(|row| (&row.transaction, row.category.as_str()));
        manifest
            .allows(&manifest::rows_sha256(rows), dataset.taxonomy().version())
            .context("the labels are not fit to learn from: `txcat data check` shows why, --without-check overrides")?;
        Ok((MANIFEST.to_owned(), manifest.sha256))
    }

    pub(in crate::cli) fn enrichment(&self) -> Enrichment {
        if self.plain_text { Enrichment::None } else { Enrichment::Full }
    }
}

#[derive(Deserialize)]
struct Term {
    term: String,
    category: Slug,
    weight: f32,
}

/// Reads a lexicon; terms of categories that the taxonomy doesn't have are passed over.
pub(in crate::cli) fn lexicon(path: &Path, taxonomy: &Taxonomy) -> anyhow::Result<Vec<Labelled>> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .with_context(|| format!("can't read {}", path.display()))?;
    let mut terms = Vec::new();
    for term in csv::Reader::from_reader(text.as_bytes()).deserialize() {
        let Term { term, category, weight } = term.with_context(|| path.display().to_string())?;
        if let (Some(class), Ok(descriptor)) = (taxonomy.index_of(&category), Descriptor::parse(&term)) {
            terms.push(Labelled { input: AdapterInput::of_descriptor(&descriptor), class, weight });
        }
    }
    Ok(terms)
}
