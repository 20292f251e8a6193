//! What engines said, so that nothing is computed twice: in memory for as long as a run lasts, and in Postgres.
//!
//! What an answer rests on is its key ([`Stage::input`](crate::categorize::Stage::input)); another version of an engine is
//! another engine. Answers are kept as the engine gave them: they are calibrated as they are used.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Days, Utc};
use hashlink::LruCache;

use super::Error;
use crate::{
    domain::{InputHash, Prediction},
    store::{AnswerSources, Store},
};

/// Answers in memory: some 60 MiB.
const IN_MEMORY: usize = 65_536;
/// Answers in Postgres: some 4 GB.
const IN_STORE: u64 = 5_000_000;
/// Engines that nobody used for so many days are forgotten.
const UNUSED_DAYS: u64 = 90;

/// An engine, by its number, and what its answer rests on.
pub(super) type Key = (i64, InputHash);

/// Remembered answers of some engines.
pub struct Memory {
    store: Store,
    engines: HashMap<String, i64>,
    kept: Mutex<LruCache<Key, Prediction>>,
    /// How many more answers Postgres takes.
    room: AtomicU64,
}

/// What was computed, for [`Memory::keep`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fresh(pub(super) Vec<(Key, Prediction)>);

impl FromIterator<Fresh> for Fresh {
    fn from_iter<T: IntoIterator<Item = Fresh>>(all: T) -> Self {
        Self(all.into_iter().flat_map(|fresh| fresh.0).collect())
    }
}

/// Rows of a batch that need an answer, by where it comes from.
#[derive(Default)]
pub(super) struct Sorted {
    /// By place: what is remembered.
    pub(super) told: Vec<(usize, Prediction)>,
    /// Places of those that must be asked about.
    pub(super) open: Vec<usize>,
    /// Places that get the answer of another place, which is asked about.
    pub(super) followers: Vec<(usize, usize)>,
    pub(super) sources: AnswerSources,
}

impl Memory {
    /// What these engines said so far. Forgets what nobody used for long, and what is too much.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open(store: &Store, engines: &[String], now: DateTime<Utc>) -> Result<Self, Error> {
        let mut numbers = HashMap::with_capacity(engines.len());
        for engine in engines {
            numbers.insert(engine.clone(), store.remembered_engine(engine, now).await?);
        }
        let kept: Vec<i64> = numbers.values().copied().collect();
        let unused_since = now.checked_sub_days(Days::new(UNUSED_DAYS)).unwrap_or(now);
        let held = store.forget_remembered(&kept, unused_since, IN_STORE).await?;
        Ok(Self {
            store: store.clone(),
            engines: numbers,
            kept: Mutex::new(LruCache::new(IN_MEMORY)),
            room: AtomicU64::new(IN_STORE.saturating_sub(held)),
        })
    }

    /// Keeps what was computed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep(&self, fresh: &Fresh) -> Result<(), Error> {
        let mut by_engine: HashMap<i64, Vec<(InputHash, Prediction)>> = HashMap::new();
        for ((engine, input), answer) in &fresh.0 {
            by_engine.entry(*engine).or_default().push((*input, answer.clone()));
        }
        for (engine, mut answers) in by_engine {
            let room = usize::try_from(self.room.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
            answers.truncate(room);
            if answers.is_empty() {
                continue;
            }
            let new = self.store.remember(engine, &answers).await?;
            // Nobody else adds to this count, so it can't fall below zero.
            self.room.fetch_sub(new, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn key(&self, engine: &str, input: Option<InputHash>) -> Option<Key> {
        Some((*self.engines.get(engine)?, input?))
    }

    /// What Postgres remembers of those that are not in memory.
    pub(super) async fn recall(&self, keys: &[Option<Key>]) -> Result<HashMap<Key, Prediction>, Error> {
        let mut wanted: HashMap<i64, HashSet<InputHash>> = HashMap::new();
        {
            let kept = self.kept();
            for key in keys.iter().flatten().filter(|key| kept.peek(*key).is_none()) {
                wanted.entry(key.0).or_default().insert(key.1);
            }
        }
        let mut recalled = HashMap::new();
        for (engine, inputs) in wanted {
            let inputs: Vec<InputHash> = inputs.into_iter().collect();
            let answers = self.store.recall(engine, &inputs).await?;
            recalled.extend(answers.into_iter().map(|(input, answer)| ((engine, input), answer)));
        }
        Ok(recalled)
    }

    /// Sorts the places that need an answer; rows with the key of an earlier one follow it.
    pub(super) fn sorted(
        &self,
        places: impl Iterator<Item = usize>,
        keys: &[Option<Key>],
        recalled: &mut HashMap<Key, Prediction>,
    ) -> Sorted {
        let mut sorted = Sorted::default();
        let mut leaders: HashMap<Key, usize> = HashMap::new();
        let mut kept = self.kept();
        for place in places {
            let Some(key) = keys[place] else {
                sorted.open.push(place);
                continue;
            };
            if let Some(answer) = kept.get(&key) {
                sorted.told.push((place, answer.clone()));
                sorted.sources.from_memory += 1;
            } else if let Some(answer) = recalled.remove(&key) {
                kept.insert(key, answer.clone());
                sorted.told.push((place, answer));
                sorted.sources.from_store += 1;
            } else if let Some(&leader) = leaders.get(&key) {
                sorted.followers.push((place, leader));
            } else {
                leaders.insert(key, place);
                sorted.open.push(place);
            }
        }
        sorted
    }

    /// Takes what was computed into memory.
    pub(super) fn take(&self, fresh: &Fresh) {
        let mut kept = self.kept();
        for (key, answer) in &fresh.0 {
            kept.insert(*key, answer.clone());
        }
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<Key, Prediction>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
