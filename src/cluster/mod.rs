//! Recategorization past one database: folders of Parquet files, on DataFusion here or on a Ballista cluster.
//!
//! One function does the work wherever it runs: `categorize`, which takes a row's fields as text and gives category,
//! confidence and provenance, or the problem for which there is none. A file of `--from` is one query (read, categorize,
//! write) and becomes one file of the same name, so that whatever was cut off is done again and nothing stands there
//! twice. `session.rs` says who carries a query out; nothing else knows the difference.
//!
//! It asks no database: history and account rules are not there, and the merchant directory is the one that ships with
//! txcat. Answers are those of the same adapter about an account's first row.

mod columns;
mod engines;
mod executor;
mod folders;
mod function;
mod scheduler;
mod session;
mod stores;
mod summary;

pub use engines::{Asked, Engines};
pub use executor::Executor;
pub use folders::{Folders, Work};
pub use function::function;
pub use scheduler::Scheduler;
pub use session::{alone, on_cluster};
pub use summary::{Count, Summary};

use crate::causes;
use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;

/// Why folders could not be recategorized, or a part of a cluster could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place can't be looked at.
    #[error("can't read `{place}`")]
    Place {
        /// The folder, file, pattern or URL.
        place: String,
        /// Why.
        source: Box<DataFusionError>,
    },
    /// A folder can't be made.
    #[error("can't make the folder `{place}`")]
    Folder {
        /// The folder.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// No Parquet files.
    #[error("`{place}` has no .parquet files")]
    Nothing {
        /// The folder, file, pattern or URL.
        place: String,
    },
    /// Answers would lie among the rows.
    #[error("`{to}` lies in `{from}` or around it: choose a folder beside it")]
    Overlap {
        /// Where rows come from.
        from: String,
        /// Where answers would go.
        to: String,
    },
    /// Two files would become one.
    #[error("two files would become `{name}`: read them one folder at a time")]
    Twice {
        /// The name below the folder of answers.
        name: String,
    },
    /// Answers are there already.
    #[error("`{to}` has {count} of the files already, such as `{name}`: choose another folder, or --resume")]
    There {
        /// Where answers would go.
        to: String,
        /// How many.
        count: usize,
        /// One of them.
        name: String,
    },
    /// A file's columns are no transactions.
    #[error("`{file}` has no column for {}: name one with --map, or see --currency and --direction", missing.join(", "))]
    Columns {
        /// The file.
        file: String,
        /// The fields, or mapped columns, that it lacks.
        missing: Vec<String>,
    },
    /// A file could not be recategorized.
    #[error("`{file}` could not be recategorized")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: Box<DataFusionError>,
    },
    /// What was written can't be counted.
    #[error("what was written could not be counted")]
    Count(#[source] Box<DataFusionError>),
    /// DataFusion could not be set up.
    #[error("the query engine could not be set up")]
    Session(#[source] Box<DataFusionError>),
    /// A query came to a process that categorizes nothing.
    #[error("this process categorizes nothing")]
    NoEngines,
    /// A query names an engine that is not here.
    #[error("engine `{engine}` is not loaded here, only {}: start the executor with its folder (--adapter)", loaded.join(", "))]
    UnknownEngine {
        /// What was asked for.
        engine: String,
        /// What there is.
        loaded: Vec<String>,
    },
    /// A query is in other categories.
    #[error("this process answers in taxonomy {here}, and taxonomy {asked} was asked for")]
    OtherTaxonomy {
        /// What was asked for.
        asked: String,
        /// What there is.
        here: String,
    },
    /// The engine failed.
    #[error("the rows could not be categorized")]
    Categorize(#[from] crate::categorize::Error),
    /// An adapter can't be loaded.
    #[error("the adapter could not be loaded")]
    Model(#[from] crate::model::Error),
    /// What a query asks for is no text of ours.
    #[error("what the query asks for can't be read")]
    Asked(#[from] serde_json::Error),
    /// The scheduler's address is none.
    #[error("`{address}` is no address of a scheduler, such as df://127.0.0.1:50050")]
    Address {
        /// What was given.
        address: String,
    },
    /// Nobody listens at the scheduler's address.
    #[error("no scheduler can be reached at `{address}`: start one with `txcat cluster scheduler`")]
    Unreachable {
        /// What was given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A port can't be had.
    #[error("can't listen on {host}")]
    Listen {
        /// Where.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// The scheduler or the executor ended.
    #[error("the {part} ended")]
    Ballista {
        /// Which.
        part: &'static str,
        /// Why.
        source: Box<BallistaError>,
    },
}

impl From<Error> for DataFusionError {
    /// In words: a cluster hands on how an error shows itself to programmers, and nothing of its causes.
    fn from(error: Error) -> Self {
        Self::Execution(causes::with_causes(&error))
    }
}
