//! Managed fine-tuning: labelled rows as the files that providers train on, and the jobs that train on them.
//!
//! Not where labels are judged ([`curate`](crate::curate)) nor where a provider is asked ([`llm`]). What is written
//! here leaves the machine one day: no line is written but through [`llm::redact`].

pub mod export;
pub mod jobs;
pub mod lifecycle;
pub mod register;
pub mod validate;

use std::{io, path::PathBuf};

use crate::{categorize, llm, store};

/// Why fine-tuning can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The prompt can't be filled in, or labelled transactions can't be looked for.
    #[error("the prompt can't be put into words")]
    Wording(#[from] categorize::Error),
    /// The provider could not be asked, or refused.
    #[error(transparent)]
    Llm(#[from] llm::Error),
    /// The database failed.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// A line can't be written as JSON, or read as it.
    #[error("a training line can't be written or read as JSON")]
    Json(#[from] serde_json::Error),
    /// A file can't be read or written.
    #[error("can't use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has no lines that are fit to train on.
    #[error("{faults} of {lines} lines are not fit to train on: `txcat finetune validate` shows them")]
    Unfit {
        /// Lines with an error.
        faults: usize,
        /// Lines in all.
        lines: usize,
    },
    /// Too few lines.
    #[error("the file has {lines} lines, and providers train on {} or more", validate::LEAST_LINES)]
    Short {
        /// Lines.
        lines: usize,
    },
    /// The file's lines are of another kind than the method learns from.
    #[error("{preferences} of {lines} lines are preferences: supervised training takes none, dpo nothing else")]
    Method {
        /// Lines with a better and a worse answer.
        preferences: usize,
        /// Lines in all.
        lines: usize,
    },
    /// The file's lines are of another provider's form.
    #[error("{foreign} of {lines} lines are of Gemini's or Bedrock's form: upload them with that provider's own tools")]
    Foreign {
        /// Lines of another form.
        foreign: usize,
        /// Lines in all.
        lines: usize,
    },
    /// A pair without a worse answer.
    #[error("a preference needs the prediction that was wrong")]
    NoPair,
    /// The job has no tuned model.
    #[error("the job has no tuned model: it is `{status}`")]
    NoModel {
        /// Where it stands.
        status: String,
    },
    /// Whether the job is at the provider is not known.
    #[error("the provider did not say whether it took the job: create it again to find out, and cancel it then")]
    MayBeThere,
    /// Another process is creating the job.
    #[error("the job is being created by another process, or has ended")]
    BeingCreated,
    /// A job whose tokens are known, or not all billed yet.
    #[error("the job is `{status}` and has nothing left to settle: only ended jobs without a count of tokens do")]
    Settled {
        /// Where it stands.
        status: String,
    },
    /// The job was never created at the provider.
    #[error("the job was not created at the provider yet: create it again to go on")]
    NotCreated,
    /// The model file has a model of that name.
    #[error("{} has a model `{name}` already", path.display())]
    Named {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A model's entry can't be written as TOML.
    #[error("the model's entry can't be written")]
    Toml(#[source] toml::ser::Error),
}
