//! Experiments on labels: how many, which, how clean, how few keep a target as time passes, and what an analyst's few
//! decisions do to it.
//!
//! Each measures on real rows with intervals, and says what it shows and what it doesn't. None stores anything
//! or changes an adapter in service.

use std::{error::Error as StdError, io};

use crate::{
    domain::TransactionId,
    enrich,
    evaluate::{
        dataset,
        metrics::Share,
        paired::{Difference, Interval},
    },
    model, pipeline, review, store,
};

pub mod cascade;
pub mod chart;
pub mod cleaning;
pub mod golden;
pub mod golden_page;
pub mod ground;
pub mod labels;
pub mod page;
pub mod replay;
pub mod replay_page;
pub mod upkeep;
pub mod upkeep_page;

/// Why an experiment could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set can't be read.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The database failed.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// The merchant directory could not be read.
    #[error("transactions could not be enriched")]
    Enrich(#[from] enrich::Error),
    /// A transaction was stopped on its way.
    #[error("transactions could not be categorized")]
    Pipeline(#[from] pipeline::Error),
    /// A decision was refused.
    #[error("a decision could not be made")]
    Review(#[from] review::Error),
    /// A row that the service should have answered, and asked about, was refused.
    #[error("transaction `{id}` was not taken")]
    NotAnswered {
        /// Which.
        id: TransactionId,
    },
    /// There is no place for an adapter that is thrown away.
    #[error("can't make a temporary folder")]
    Temporary(#[source] io::Error),
    /// A plot can't be drawn.
    #[error("can't draw the plot `{title}`")]
    Plot {
        /// Its title.
        title: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// A share in per cent, for a line of progress.
fn shown(share: Option<Share>) -> String {
    share.map_or_else(String::new, |of| format!("{:.2} %", 100.0 * of.share))
}

/// What is trained, in words.
fn engine(epochs: usize) -> String {
    match epochs {
        0 => "the wide part alone, no lexicon".to_owned(),
        1 => "LoRA of rank 16 on all-MiniLM-L6-v2, 1 pass, with the wide part, no lexicon".to_owned(),
        n => format!("LoRA of rank 16 on all-MiniLM-L6-v2, {n} passes, with the wide part, no lexicon"),
    }
}

/// How sure a difference is, in words.
fn clear(of: &Difference) -> &'static str {
    let sure = |of: &Interval| of.low > 0.0 || of.high < 0.0;
    match (sure(&of.rows), sure(&of.keys)) {
        (true, true) => "clear by rows and by merchants",
        (true, false) => "clear by rows, not when whole merchants are drawn anew",
        (false, _) => "could be chance",
    }
}
