//! What a transaction, a category and a prediction *are*.
//!
//! Pure: no async, no SQL, no HTTP, no tensors. Everything here can be read, tested and reasoned
//! about without a machine around it, and every other module speaks in these types.

pub mod acceptance;
pub mod adapter;
pub mod descriptor;
pub mod draw;
pub mod enrichment;
pub mod injection;
pub mod instant;
pub mod job;
pub mod level;
pub mod mapping;
pub mod merchant;
pub mod money;
pub mod own_words;
pub mod pii;
pub mod prediction;
pub mod recategorization;
pub mod review;
pub mod taxonomy;
pub mod transaction;

pub use acceptance::{Acceptance, Judged};
pub use adapter::AdapterState;
pub use descriptor::{Descriptor, DescriptorKey, InvalidDescriptor};
pub use enrichment::{EnrichedTransaction, Enrichment, HistoryEntry, UserHistory};
pub use instant::instant;
pub use job::{JobState, RecategorizationStep, Urgency};
pub use level::{ConfidenceLevel, Levels};
pub use mapping::{Becomes, MappingMistake, TaxonomyMapping};
pub use merchant::{Merchant, MerchantMatch};
pub use money::{Currency, Money};
pub use own_words::OwnWords;
pub use prediction::{InputHash, Prediction, Provenance, TextHash};
pub use recategorization::{ChangeState, LeftBecause, RecategorizationPhase, RecategorizationScope};
pub use review::{ActionKind, Correction, CorrectionScope, DecidedBy, InForce, Lane, ReviewReason, ReviewStatus};
pub use taxonomy::{Category, Slug, Taxonomy};
pub use transaction::{AccountId, Direction, Transaction, TransactionId};
