//! The registry: an adapter's folder goes into the database whole, and comes out whole on any server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::Error;
use crate::{
    model::{AdapterBank, AdapterFacts, AdapterModel, facts::MANIFEST},
    store::{AdapterFile, NewAdapter, Store, StoredAdapter},
};

/// What an adapter is registered as.
#[derive(Debug, Clone)]
pub struct Registration<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Its name; its folder's own where none is given.
    pub name: Option<&'a str>,
    /// Whose answers it may give.
    pub account_group: &'a str,
    /// Who registers it.
    pub by: &'a str,
}

/// An adapter that the registry has.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// Itself.
    pub adapter: StoredAdapter,
    /// Whether it was not there before.
    pub created: bool,
}

/// Whether the registry takes a name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    name.len() <= 63 && name.starts_with(plain) && name.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
}

/// Registers an adapter, after loading it as serving will. One that is there already is found again.
///
/// # Errors
/// When it can't be loaded on this base encoder, is there under another name or for another group, or the database
/// fails; then nothing was stored.
pub async fn register(
    store: &Store,
    bank: &AdapterBank,
    what: Registration<'_>,
    now: DateTime<Utc>,
) -> Result<Registered, Error> {
    let check = |name: &str| if is_name(name) { Ok(()) } else { Err(Error::Name { name: name.to_owned() }) };
    what.name.map_or(Ok(()), check)?;
    check(what.account_group)?;
    let loaded = load(what.dir.to_owned(), bank).await?;
    let facts = loaded.facts();
    let name = what.name.unwrap_or(&facts.name);
    check(name)?;
    let engine = loaded.engine();
    let adapter = NewAdapter {
        name: name.to_owned(),
        engine: engine.clone(),
        taxonomy: facts.taxonomy.clone(),
        account_group: what.account_group.to_owned(),
        base: facts.base.name.clone(),
        base_sha256: facts.base.sha256.clone(),
        label_manifest: facts.sources.get(MANIFEST).cloned(),
        facts: told(facts)?,
        files: files(what.dir)?,
        registered_by: what.by.to_owned(),
        registered_at: now,
    };
    let created = store.register_adapter(&adapter).await?.is_some();
    let found = store.adapters(None).await?.into_iter().find(|adapter| adapter.engine == engine);
    if let Some(found) = &found
        && (what.name.is_some_and(|name| name != found.name) || what.account_group != found.account_group)
    {
        let (reference, account_group) = (found.reference(), found.account_group.clone());
        return Err(Error::Registered { reference, account_group });
    }
    let adapter = found.ok_or(Error::Unknown { reference: engine })?;
    Ok(Registered { adapter, created })
}

/// The adapter of a name and version (`consumer@3`), or the newest of a name.
///
/// # Errors
/// When there is none, or the database fails.
pub async fn find(store: &Store, reference: &str) -> Result<StoredAdapter, Error> {
    let all = store.adapters(None).await?;
    let found = all.into_iter().find(|adapter| adapter.reference() == reference || adapter.name == reference);
    found.ok_or_else(|| Error::Unknown { reference: reference.to_owned() })
}

/// Loads a registered adapter.
///
/// # Errors
/// When its files can't be had or are not what they were, or it is on another base encoder.
pub async fn open(store: &Store, bank: &AdapterBank, adapter: &StoredAdapter) -> Result<AdapterModel, Error> {
    let files = store.adapter_files(adapter.id).await?;
    let dir = tempfile::tempdir().map_err(failed("create", Path::new("a temporary folder")))?;
    for AdapterFile { path, content } in files {
        // Names come from `files` alone; a path in one would lead out of the folder.
        let at = dir.path().join(Path::new(&path).file_name().unwrap_or_default());
        fs::write(&at, content).map_err(failed("write", &at))?;
    }
    let loaded = load(dir.path().to_owned(), bank).await?;
    drop(dir);
    Ok(loaded)
}

async fn load(dir: PathBuf, bank: &AdapterBank) -> Result<AdapterModel, Error> {
    let bank = bank.clone();
    let loaded = tokio::task::spawn_blocking(move || bank.load(&dir));
    Ok(loaded.await.map_err(|_| Error::Stopped)??)
}

/// The files that hold the adapter: those whose hashes it knows, and its own description.
fn files(dir: &Path) -> Result<Vec<AdapterFile>, Error> {
    let entries = fs::read_dir(dir).map_err(failed("read", dir))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("read", dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file()) else { continue };
        files.push(AdapterFile { path: name.to_owned(), content: fs::read(&path).map_err(failed("read", &path))? });
    }
    Ok(files)
}

/// What people want to know of an adapter. Not its probes: those hold statement texts.
fn told(facts: &AdapterFacts) -> Result<serde_json::Value, Error> {
    Ok(serde_json::json!({
        "data": facts.data,
        "dev": serde_json::to_value(facts.dev)?,
        "labels": facts.counts[0],
        "enrichment": serde_json::to_value(facts.enrichment)?,
        "effort": serde_json::to_value(facts.effort)?,
        "trained_numbers": facts.trained,
        "training": serde_json::to_value(&facts.training)?,
        "acceptance": serde_json::to_value(facts.acceptance)?,
        "sources": facts.sources,
    }))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { action, path, source }
}
