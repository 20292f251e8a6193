//! Stored runs read back as figures: one run with its slices, or two on the same rows.
//!
//! Postgres counts, sums and ranks ([`crate::store`]); what is left here is the arithmetic over a few hundred counts, and
//! drawing merchants anew for intervals. Reading and computing are two steps, so that a server computes off its threads.

mod figures;
mod measured;
mod names;
mod pair;
mod run;

pub use figures::{ClassFigures, F1Intervals, Mistake, RunFigures, RunReport, Slice};
pub use measured::{Measured, measured, merchants};
pub use pair::{Compared, ComparedClass, Contrast, DifferingRow, Pairing, pairing};
pub use run::TrackedRun;

use crate::store;

/// Why runs can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No run of that number.
    #[error("there is no eval run {id}")]
    Unknown {
        /// The number.
        id: i64,
    },
    /// Two runs of different rows, or of rows that are kept no longer.
    #[error("eval runs {ours} and {theirs} share no rows to compare")]
    Apart {
        /// One.
        ours: i64,
        /// The other.
        theirs: i64,
    },
    /// A run without stored rows.
    #[error("eval run {id} has no rows")]
    Empty {
        /// The number.
        id: i64,
    },
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
}
