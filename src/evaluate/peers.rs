//! Answers that somebody else's program wrote down, scored beside ours.
//!
//! A folder of `PEER-FILE.csv` with columns `id` and `category`; others are passed over.

use std::{
    collections::HashMap,
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
};

use crate::domain::{Acceptance, Slug, Taxonomy};

use super::{
    metrics::Scored,
    scored::{Answerer, Figures, FileScore, Item},
};

/// Why a peer's answers can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be listed.
    #[error("can't list {}", dir.display())]
    List {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no table of `id,category`.
    #[error("{} line {line}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A row of the scored file has no answer.
    #[error("{} has no answer for {id}", path.display())]
    Unanswered {
        /// The file.
        path: PathBuf,
        /// The row.
        id: String,
    },
    /// An answer that is no category of the data set.
    #[error("{} answers {id} with `{category}`, which is no category here", path.display())]
    Category {
        /// The file.
        path: PathBuf,
        /// The row.
        id: String,
        /// The answer.
        category: String,
    },
}

/// One peer's answers on one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The peer's name.
    pub name: String,
    /// Where its answers are.
    pub path: PathBuf,
}

/// The peers that have answers for a file, by name.
///
/// # Errors
/// When the folder can't be listed.
pub fn find(dir: &Path, file: &str) -> Result<Vec<Peer>, Error> {
    let failed = |source| Error::List { dir: dir.to_owned(), source };
    let ending = format!("-{file}.csv");
    let mut peers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(&ending));
        if let Some(name) = name.map(str::to_owned) {
            peers.push(Peer { name, path });
        }
    }
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(peers)
}

#[derive(serde::Deserialize)]
struct Answer {
    id: String,
    category: String,
}

/// Scores a peer on the rows that one of our stages was scored on. Its confidences, where it tells
/// any, are not fitted on dev, so neither calibration nor coverage is judged.
///
/// # Errors
/// When a row has no answer, or one that is no category.
pub fn score(peer: &Peer, ours: &FileScore, taxonomy: &Taxonomy) -> Result<FileScore, Error> {
    let mut answers = HashMap::new();
    let failed = |line: usize, source: csv::Error| Error::Row { path: peer.path.clone(), line, source: source.into() };
    let reader = csv::Reader::from_path(&peer.path).map_err(|source| failed(1, source))?;
    for (index, answer) in reader.into_deserialize::<Answer>().enumerate() {
        let answer = answer.map_err(|source| failed(index + 2, source))?;
        answers.insert(answer.id.clone(), answer);
    }
    let items = ours
        .items
        .iter()
        .map(|item| {
            let id = item.id.as_str();
            let answer =
                answers.get(id).ok_or_else(|| Error::Unanswered { path: peer.path.clone(), id: id.to_owned() })?;
            let index = answer.category.parse::<Slug>().ok().and_then(|slug| taxonomy.index_of(&slug));
            let index = index.ok_or_else(|| Error::Category {
                path: peer.path.clone(),
                id: id.to_owned(),
                category: answer.category.clone(),
            })?;
            let scored = Scored { answer: index, confidence: 0.0, ..item.scored };
            Ok(Item { scored, said: None, ..item.clone() })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let figures = Figures::of(&items, false, Acceptance::default(), &taxonomy.primaries())
        .ok_or_else(|| Error::Unanswered { path: peer.path.clone(), id: String::new() })?;
    let answerer = Answerer { name: peer.name.clone(), engine: String::new(), target: None };
    Ok(FileScore { answerer, file: ours.file.clone(), items, rows_per_s: None, cost: None, figures })
}
