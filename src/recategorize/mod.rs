//! Stored transactions categorized anew: previewed, applied, undone.
//!
//! [`preview`] fixes a scope, has its rows asked about page by page (`asking`) as the pipeline does, and keeps what would change;
//! [`taxonomy`] makes such a run lead from one taxonomy to another; [`diff`] counts what would change, [`guards`] say whether it is fit to be applied, [`apply`] brings it into force and puts it back.
//! A process may die at any point: every step is a database transaction that says how far it came, and the same call goes
//! on. What a person said is never changed. It is not who runs it or when: that is the edge's matter.

pub mod apply;
mod asking;
pub mod diff;
pub mod guards;
pub mod preview;
pub mod report;
pub mod taxonomy;

pub use diff::{Accuracy, Category, Diff, Moved, Pair, Sample};
pub use guards::{Guards, Refusal};
pub use preview::{Plan, Progress};
pub use report::Report;

use crate::{
    domain::{MappingMistake, RecategorizationPhase, recategorization::InvalidScope},
    pipeline,
    store::{self, Recategorization, Store},
};

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// The way of a transaction.
    #[error("the transactions could not be asked about")]
    Pipeline(#[from] pipeline::Error),
    /// A scope that says nothing, or two things, or names what is not known here.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// A model that can't be had now: what was answered is kept.
    #[error("the model can't be had now, and {failed} rows wait for another try: resume the run a little later")]
    Outage {
        /// Rows of the last page that got no answer.
        failed: usize,
    },
    /// No run of that number.
    #[error("there is no recategorization {id}")]
    Unknown {
        /// What was asked for.
        id: i64,
    },
    /// The run is not where this may be done.
    #[error("recategorization {id} is {phase}: it can't be {done} from there{}", goes_on(*phase))]
    Phase {
        /// Which run.
        id: i64,
        /// Where it stands.
        phase: RecategorizationPhase,
        /// What was to be done.
        done: &'static str,
    },
    /// Others answer now than when the run was begun.
    #[error(
        "recategorization {id} was begun with {begun}, and {now} would answer now: begin another, or serve the same"
    )]
    OtherEngines {
        /// Which run.
        id: i64,
        /// The engines it began with.
        begun: String,
        /// The engines of now.
        now: String,
    },
    /// Another process is at the same run.
    #[error("another process is at work on recategorization {id}")]
    Overtaken {
        /// Which run.
        id: i64,
    },
    /// The guards refuse.
    #[error("{}; to apply it all the same, say why that shall not count (`override`, on the command line `--override`)", refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// All that they found.
        refusals: Vec<Refusal>,
    },
    /// A mapping from a taxonomy that is not stored here.
    #[error("no taxonomy `{version}` is known here: `from` names the version that answers name, one of {}", known.join(", "))]
    UnknownTaxonomy {
        /// What was asked for.
        version: String,
        /// What is known, newest first.
        known: Vec<String>,
    },
    /// A mapping from the taxonomy that it leads to.
    #[error("`{version}` is the taxonomy in force already: give the new one")]
    SameTaxonomy {
        /// Which.
        version: String,
    },
    /// A mapping with mistakes.
    #[error("the mapping can't be used: {}", mistakes.iter().map(MappingMistake::to_string).collect::<Vec<_>>().join("; "))]
    Mapping {
        /// All that were found.
        mistakes: Vec<MappingMistake>,
    },
    /// Labelled rows that no stage has answered: nothing would tell their taxonomy.
    #[error("{rows} labelled rows were never categorized: import them again without --no-categorize first")]
    NeverAnswered {
        /// How many.
        rows: u64,
    },
    /// Not a run from one taxonomy to another.
    #[error("recategorization {id} leads to no other taxonomy")]
    NoMigration {
        /// Which run.
        id: i64,
    },
    /// A migration that nobody can take back any more.
    #[error("the taxonomy of recategorization {id} is concluded")]
    Concluded {
        /// Which run.
        id: i64,
    },
    /// A run whose answers are in a taxonomy that was left meanwhile.
    #[error(
        "recategorization {id} answers in the taxonomy `{left}`, which was left for `{now}`: begin another with whoever answers in that"
    )]
    LeftTaxonomy {
        /// Which run.
        id: i64,
        /// The taxonomy of its answers.
        left: String,
        /// The one that took its place.
        now: String,
    },
    /// A diff that can't be written or read back.
    #[error("the diff of a recategorization is broken")]
    Diff(#[from] serde_json::Error),
}

/// How a run that stopped on its way goes on, for whoever tries something else.
fn goes_on(phase: RecategorizationPhase) -> &'static str {
    match phase {
        RecategorizationPhase::Predicting => "; if nobody is at work on it, `resume` goes on",
        RecategorizationPhase::Applying => "; if nobody is at work on it, `apply` goes on",
        RecategorizationPhase::Undoing => "; if nobody is at work on it, `undo` goes on",
        _ => "",
    }
}

/// The run of a number.
///
/// # Errors
/// When there is none, or the database fails.
pub async fn find(store: &Store, id: i64) -> Result<Recategorization, Error> {
    store.recategorization(id).await?.ok_or(Error::Unknown { id })
}

/// What a run's preview found; `None` while it has not ended.
///
/// # Errors
/// When what is stored can't be read.
pub fn found(run: &Recategorization) -> Result<Option<Diff>, Error> {
    Ok(run.diff.clone().map(serde_json::from_value).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_stopped_halfway_says_what_goes_on() {
        let told = |phase| Error::Phase { id: 3, phase, done: "previewed" }.to_string();
        let begins = "recategorization 3 is applying: it can't be previewed from there";
        assert_eq!(
            told(RecategorizationPhase::Applying),
            format!("{begins}; if nobody is at work on it, `apply` goes on")
        );
        assert!(told(RecategorizationPhase::Undone).ends_with("from there"));
    }
}
