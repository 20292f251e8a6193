//! Adapters as products: registered, promoted on evidence, watched, and taken back.
//!
//! [`registry`] keeps their folders in the database, [`roster`] makes of what stands there the line-up that
//! answers, [`gate`] says whether one may go up, [`promotion`] moves it, and [`watch`] takes back one that
//! does worse on live traffic than what it replaced. Every move leaves a decision with its numbers.

mod changes;
pub mod gate;
pub mod health;
pub mod promotion;
pub mod registry;
pub mod roster;
pub mod watch;

use crate::{categorize, domain::AdapterState, model, store};

/// Why an adapter could not be registered, loaded or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// The adapter's folder, or its engine.
    #[error("the adapter can't be used")]
    Model(#[from] model::Error),
    /// Its stage.
    #[error("the adapter can't be put to work")]
    Categorize(#[from] categorize::Error),
    /// A file of its folder.
    #[error("can't {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Not a name that the registry takes.
    #[error("`{name}` is no name for an adapter or a group: 1 to 63 letters, digits, `.`, `_` and `-`")]
    Name {
        /// What was given.
        name: String,
    },
    /// The same adapter is there under another name, or for another group.
    #[error(
        "the same adapter is registered already, as {reference} for {account_group}: an adapter has one name and one group"
    )]
    Registered {
        /// As what.
        reference: String,
        /// For whom.
        account_group: String,
    },
    /// What was fitted for an engine is of another version's shape.
    #[error("what was fitted for `{engine}` can't be read: run `txcat eval` on dev again")]
    Fitted {
        /// Which engine.
        engine: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A number that can't be stored as JSON.
    #[error("a report can't be stored")]
    Report(#[from] serde_json::Error),
    /// No adapter of that name.
    #[error("there is no adapter `{reference}` in the registry")]
    Unknown {
        /// What was asked for, such as `consumer@3`.
        reference: String,
    },
    /// Nothing answers in this taxonomy.
    #[error(
        "no adapter of taxonomy {taxonomy} is champion: register one (`txcat adapters register DIR`) and promote it, \
         or name one with --adapter"
    )]
    NoChampion {
        /// The version of the taxonomy.
        taxonomy: String,
    },
    /// A way that adapters don't go.
    #[error("an adapter can't go from {from} to {to}")]
    NoWay {
        /// Where it stands.
        from: AdapterState,
        /// Where it should go.
        to: AdapterState,
    },
    /// Somebody has to answer.
    #[error("`{reference}` is the champion: promote another, or roll it back")]
    OnlyChampion {
        /// Which adapter.
        reference: String,
    },
    /// A share that is none.
    #[error("a {to} sees a share of the accounts, above 0 and at most 1")]
    Share {
        /// Where it should go.
        to: AdapterState,
    },
    /// Its group has a canary.
    #[error("`{other}` is canary in this group: promote it or take it back first")]
    OtherCanary {
        /// Which one.
        other: String,
    },
    /// The gate has not measured it beside the champion of now.
    #[error("the gate has not measured `{reference}` beside the present champion: `txcat adapters evaluate` does")]
    NoGate {
        /// Which adapter.
        reference: String,
    },
    /// The gate is shut.
    #[error("the gate is shut for `{reference}`: {failed}")]
    GateShut {
        /// Which adapter.
        reference: String,
        /// What failed, in a sentence.
        failed: String,
    },
    /// There is nothing to go back to.
    #[error("`{reference}` replaced no other adapter: there is none to go back to")]
    NoPredecessor {
        /// Which adapter.
        reference: String,
    },
    /// Somebody else decided in between.
    #[error("`{reference}` was moved in the meantime: look again")]
    Moved {
        /// Which adapter.
        reference: String,
    },
    /// The thread that loads adapters is gone.
    #[error("loading was stopped")]
    Stopped,
}
