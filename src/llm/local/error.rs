//! Why a model file can't be used, or a prompt not be read by it.

use std::path::PathBuf;

use super::config::ARCHITECTURES;

/// What can go wrong with a model that runs here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no GGUF file, or ends too early.
    #[error("{} is not a well-formed GGUF file", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: candle_core::Error,
    },
    /// The file holds another kind of model.
    #[error("a model of the architecture `{architecture}` can't be computed, only {}", ARCHITECTURES.join(", "))]
    Architecture {
        /// What `general.architecture` says.
        architecture: String,
    },
    /// The file's metadata lack a value, or have one that can't be.
    #[error("the file's `{key}` {says}")]
    Metadata {
        /// Which value.
        key: String,
        /// What is wrong with it.
        says: &'static str,
    },
    /// The file has weights that nothing here would use: the answers would be others.
    #[error("the file has a tensor `{tensor}` that is not computed with")]
    LeftOver {
        /// One of them.
        tensor: String,
    },
    /// How the file cuts texts into tokens is not known here.
    #[error(
        "the file's tokenizer ({kind}) can't be made from its metadata: name the model's tokenizer.json as `tokenizer`"
    )]
    Tokenizer {
        /// What the metadata call it.
        kind: String,
    },
    /// The tokenizer can't be made or can't read a text.
    #[error("the tokenizer failed")]
    Tokenize(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file has no usable chat template, and none of the known forms has its marks in the vocabulary.
    #[error("the file has no usable chat template, and its vocabulary has the marks of neither ChatML nor Llama 3")]
    Template,
    /// A prompt is longer than the model can read.
    #[error("the prompt takes {tokens} tokens and the model reads {most}")]
    TooLong {
        /// Tokens of the prompt, with the longest answer.
        tokens: usize,
        /// Tokens that the model was made for.
        most: usize,
    },
    /// No category, or two that are the same tokens.
    #[error("the categories can't be told apart by their tokens")]
    Categories,
    /// Arithmetic failed.
    #[error("the model can't be computed")]
    Compute(#[from] candle_core::Error),
    /// Nobody waits for the answer.
    #[error("the one who asked has gone")]
    Abandoned,
    /// It took longer than it may.
    #[error("the time is up")]
    Late,
    /// The thread that computes has ended.
    #[error("the model's thread has ended")]
    Stopped,
}
