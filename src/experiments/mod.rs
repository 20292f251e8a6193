//! Experiments on labels: how many, which, how clean, and how few keep a target as time passes.
//!
//! Each measures on real rows with intervals, and says what it shows and what it doesn't. None stores anything
//! or changes an adapter in service.

use std::{error::Error as StdError, io};

use crate::{
    evaluate::{
        dataset,
        metrics::Share,
        paired::{Difference, Interval},
    },
    model,
};

pub mod cascade;
pub mod chart;
pub mod cleaning;
pub mod golden;
pub mod golden_page;
pub mod ground;
pub mod labels;
pub mod page;
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
