//! The labelled rows to check, from a data set's folder or from the store.
//!
//! Unlike [`Corpus`](crate::evaluate::corpus::Corpus), which stops at the first bad row, this reader
//! keeps it as a [`Refused`]: counted and shown, never dropped in silence.

use std::{collections::HashSet, sync::Arc};

use crate::{
    causes::with_causes,
    domain::{EnrichedTransaction, Enrichment, Slug, Taxonomy, Transaction, TransactionId, UserHistory},
    evaluate::{
        dataset::{self, Dataset, Row, Rows},
        labels::{Candidate, Choice, Labels},
        timelines::Timelines,
    },
    model::{AdapterInput, Labelled, folds::Aids},
    store::LabelledTransaction,
};

/// Up to so many rows, an example knows the keys of its account's earlier rows; beyond, that would
/// fill the memory.
const MOST_WITH_HISTORY: usize = 50_000;

/// Which rows of the pool are labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that training would buy.
    Chosen(Choice),
}

/// A labelled row.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Its line in the file; absent for a row of the store.
    pub line: Option<u64>,
    /// The row.
    pub transaction: Transaction,
    /// Its label, as a place in the taxonomy's assignable categories.
    pub class: usize,
    /// Who gave it, where that is known.
    pub labelled_by: Option<String>,
    /// What a model reads of it.
    pub input: AdapterInput,
    /// As it stands in the file; empty for a row of the store.
    pub record: csv::StringRecord,
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Its line in the file; absent for a row of the store.
    pub line: Option<u64>,
    /// Its id, as far as that could be read.
    pub id: String,
    /// The label, where that is what is wrong: no category of the taxonomy.
    pub off_taxonomy: Option<Slug>,
    /// Why, with causes.
    pub says: String,
    /// As it stands in the file, as far as that could be read.
    pub record: csv::StringRecord,
}

/// The rows of dev: what is learned is calibrated by their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Dev {
    /// How many there are.
    pub rows: usize,
    /// Those of them that could not be read.
    pub refused: Vec<Refused>,
}

/// The labelled rows of one set.
#[derive(Debug, Clone)]
pub struct LabelledSet {
    /// Its name.
    pub name: String,
    /// What its labels are categories of.
    pub taxonomy: Arc<Taxonomy>,
    /// The rows that could be read.
    pub examples: Vec<Example>,
    /// Those that could not.
    pub refused: Vec<Refused>,
    /// Dev's rows; absent for a set of the store.
    pub dev: Option<Dev>,
    /// Whether the source says who labelled its rows.
    pub names_annotators: bool,
    /// Unlabelled texts of the same kind, each once: how common each piece of text is.
    pub texts: Vec<AdapterInput>,
    /// Terms that hint at a category; none unless they are put here.
    pub terms: Vec<Labelled>,
    /// The columns' names as they stand in the file; empty for a set of the store.
    pub header: csv::StringRecord,
}

impl LabelledSet {
    /// Reads the pool of a folder: once for what surrounds the rows and to choose, its labels shut
    /// away; once for the rows that were chosen. Then dev, whose labels stay there. `on_row` is called for every row of
    /// the pool.
    ///
    /// # Errors
    /// When pool or dev can't be read to its end.
    pub fn read(dataset: &Dataset, which: Which, mut on_row: impl FnMut()) -> Result<Self, dataset::Error> {
        let pool = dataset.file("pool")?;
        let mut pass = dataset.rows(pool)?;
        let (mut surroundings, mut shut, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(row) = pass.next() {
            on_row();
            match row {
                Ok(Row { transaction, category }) => {
                    shut.push(place(dataset.taxonomy(), &category));
                    surroundings.push(transaction);
                }
                Err(error) if error.is_of_one_row() => refused.push(Refused::of(&pass, error)),
                Err(error) => return Err(error),
            }
        }
        if let Which::Chosen(Choice::Listed(ids)) = &which {
            let there: HashSet<&str> = surroundings.iter().map(|row| row.id.as_str()).collect();
            let there =
                |id: &TransactionId| there.contains(id.as_str()) || refused.iter().any(|row| row.id == id.as_str());
            dataset::Error::unless_all(ids, there)?;
        }
        let wanted = match which {
            Which::All => None,
            Which::Chosen(choice) => Some(wanted(choice, &surroundings, shut)),
        };
        // A refused row is of the set when the list names it; a budget would have wanted any of them.
        if let Some((ids, true)) = &wanted {
            refused.retain(|row| ids.contains(row.id.as_str()));
        }
        let keep = |id: &str| wanted.as_ref().is_none_or(|(ids, _)| ids.contains(id));
        let mut rows = dataset.rows(pool)?;
        let mut examples = Vec::new();
        while let Some(row) = rows.next_where(keep) {
            match row {
                Ok(row) => examples.push(Example::of(&rows, dataset.taxonomy(), row)),
                Err(error) if error.is_of_one_row() => {}
                Err(error) => return Err(error),
            }
        }
        let mut timelines = Timelines::default();
        if examples.len() <= MOST_WITH_HISTORY {
            timelines.extend(surroundings.iter().map(|transaction| (transaction, None)));
        }
        examples
            .iter_mut()
            .for_each(|example| example.input = input(&example.transaction, timelines.history(&example.transaction)));
        let folder = dataset.dir().canonicalize().unwrap_or_else(|_| dataset.dir().to_owned());
        Ok(Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            taxonomy: Arc::clone(dataset.taxonomy()),
            examples,
            refused,
            dev: Some(Dev::read(dataset)?),
            names_annotators: rows.names_annotators(),
            texts: texts(&surroundings),
            terms: Vec::new(),
            header: rows.header().clone(),
        })
    }

    /// A set of what people said about stored transactions.
    #[must_use]
    pub fn of_store(name: String, taxonomy: Arc<Taxonomy>, rows: Vec<LabelledTransaction>) -> Self {
        let mut timelines = Timelines::default();
        timelines.extend(rows.iter().map(|row| (&row.transaction, None)));
        let (mut examples, mut refused, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for LabelledTransaction { transaction, category, labelled_by, .. } in rows {
            let (line, record) = (None, csv::StringRecord::new());
            all.push(transaction.clone());
            match taxonomy.index_of(&category) {
                Some(class) => {
                    let input = input(&transaction, timelines.history(&transaction));
                    examples.push(Example { line, transaction, class, labelled_by: Some(labelled_by), input, record });
                }
                None => refused.push(Refused {
                    line,
                    id: transaction.id.to_string(),
                    says: format!("taxonomy {} has no `{category}`", taxonomy.version()),
                    off_taxonomy: Some(category),
                    record,
                }),
            }
        }
        Self {
            name,
            examples,
            refused,
            dev: None,
            names_annotators: true,
            texts: texts(&all),
            terms: Vec::new(),
            taxonomy,
            header: csv::StringRecord::new(),
        }
    }

    /// The rows as a model learns from them.
    #[must_use]
    pub fn labelled(&self) -> Vec<Labelled> {
        let row = |example: &Example| Labelled { input: example.input.clone(), class: example.class, weight: 1.0 };
        self.examples.iter().map(row).collect()
    }

    /// What models are given beside the rows.
    #[must_use]
    pub fn aids(&self) -> Aids<'_> {
        Aids { terms: &self.terms, texts: &self.texts }
    }

    /// How many categories there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.taxonomy.assignable().len()
    }

    /// The category at a place in the taxonomy.
    #[must_use]
    pub fn slug(&self, class: usize) -> &Slug {
        &self.taxonomy.assignable()[class].slug
    }
}

impl Example {
    fn of(rows: &Rows, taxonomy: &Taxonomy, Row { transaction, category }: Row) -> Self {
        Self {
            line: Some(rows.line()),
            class: taxonomy.index_of(&category).unwrap_or_default(),
            labelled_by: rows.labelled_by().map(str::to_owned),
            record: rows.record().clone(),
            input: AdapterInput::default(),
            transaction,
        }
    }
}

impl Dev {
    fn read(dataset: &Dataset) -> Result<Self, dataset::Error> {
        let mut rows = dataset.rows(dataset.file("dev")?)?;
        let mut dev = Self { rows: 0, refused: Vec::new() };
        while let Some(row) = rows.next() {
            dev.rows += 1;
            match row {
                Ok(_) => {}
                Err(error) if error.is_of_one_row() => dev.refused.push(Refused::of(&rows, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(dev)
    }
}

impl Refused {
    fn of(rows: &Rows, error: dataset::Error) -> Self {
        let says = with_causes(&error);
        let off_taxonomy = match error {
            dataset::Error::Category { category, .. } => Some(category),
            _ => None,
        };
        let record = rows.record().clone();
        Self { line: Some(rows.line()), id: rows.id().to_owned(), off_taxonomy, says, record }
    }
}

/// Dev's rows with their truth, as a model reads them after the pool's.
///
/// # Errors
/// When pool or dev can't be read.
pub fn dev(dataset: &Dataset) -> Result<Vec<Labelled>, dataset::Error> {
    let pool = dataset
        .transactions(dataset.file("pool")?)?
        .filter(|row| row.as_ref().err().is_none_or(|error| !error.is_of_one_row()));
    let pool: Vec<Transaction> = pool.collect::<Result<_, _>>()?;
    let dev: Vec<Row> = dataset.rows(dataset.file("dev")?)?.collect::<Result<_, _>>()?;
    let mut timelines = Timelines::default();
    timelines.extend(pool.iter().chain(dev.iter().map(|row| &row.transaction)).map(|row| (row, None)));
    let labelled = |row: &Row| Labelled {
        input: input(&row.transaction, timelines.history(&row.transaction)),
        class: dataset.taxonomy().index_of(&row.category).unwrap_or_default(),
        weight: 1.0,
    };
    Ok(dev.iter().map(labelled).collect())
}

fn place(taxonomy: &Taxonomy, category: &Slug) -> u16 {
    taxonomy.index_of(category).and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX)
}

/// The chosen ids, and whether a list from elsewhere named them.
fn wanted(choice: Choice, rows: &[Transaction], shut: Vec<u16>) -> (HashSet<String>, bool) {
    if let Choice::Listed(ids) = choice {
        return (ids.into_iter().map(String::from).collect(), true);
    }
    let candidates: Vec<Candidate> = rows.iter().map(Candidate::of).collect();
    let bought = Labels::buy(choice, &candidates, shut);
    (bought.weights.keys().map(TransactionId::to_string).collect(), false)
}

/// What the wide part reads of a row; no merchant is looked up, as it doesn't read that.
fn input(row: &Transaction, history: UserHistory) -> AdapterInput {
    let enriched = EnrichedTransaction { transaction: row.clone(), merchant: None, history };
    AdapterInput::of(&enriched, Enrichment::None)
}

/// Every statement text once, as a model that learns from unlabelled rows reads it.
#[must_use]
pub fn texts(rows: &[Transaction]) -> Vec<AdapterInput> {
    let mut seen = HashSet::new();
    let new = rows.iter().filter(|row| seen.insert(row.descriptor.raw().to_lowercase()));
    new.map(|row| AdapterInput::of_descriptor(&row.descriptor)).collect()
}
