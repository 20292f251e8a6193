//! The chat model that was named, opened and metered: shared by all commands that ask one.

use std::sync::Arc;

use super::Settings;
use crate::{
    llm::{self, ModelEntry, ModelFile},
    spend::Metered,
    store::Store,
};

/// How a chat model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each request at once.
    Calls,
    /// Each request at once, but for those that were answered within a day: an evaluation that was interrupted goes on.
    Remembered,
    /// Through the provider's batch API, within a day.
    Batches,
}

/// The chat model that `--chat-model` names, its calls booked in the store; `None` where none is named.
///
/// # Errors
/// When the model file can't be read or lists no such model, its key is missing, it can't be asked in this way, or a
/// budget could not be held.
pub fn model(settings: &Settings, store: &Store, way: Way) -> anyhow::Result<Option<Arc<Metered>>> {
    let Some((file, entry)) = entry(settings)? else { return Ok(None) };
    let metered = match way {
        Way::Calls => Metered::new(llm::open(&entry)?, &entry, file.budget, store.clone())?,
        Way::Remembered => Metered::new(llm::open(&entry)?, &entry, file.budget, store.clone())?.remembering(&entry),
        Way::Batches => Metered::in_batches(&entry, file.budget, store.clone())?,
    };
    Ok(Some(Arc::new(metered)))
}

/// Whether the chat model that `--chat-model` names, where one is named, could be opened: said before anything long begins.
///
/// # Errors
/// When the model file can't be read or lists no such model, or its key is missing.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    if let Some((_, entry)) = entry(settings)? {
        entry.secret()?;
    }
    Ok(())
}

/// What the model file says of the chat model that `--chat-model` names.
///
/// # Errors
/// When the file can't be read or lists no such model.
pub fn entry(settings: &Settings) -> anyhow::Result<Option<(ModelFile, ModelEntry)>> {
    let Some(name) = &settings.chat.model else { return Ok(None) };
    let file = ModelFile::load(&settings.chat.file)?;
    let entry = file.entry(name)?.clone();
    Ok(Some((file, entry)))
}
