//! The line-up as the registry has it, with what was fitted for its engines: loads who is on it, and follows changes while
//! serving.

use std::{collections::HashMap, path::Path, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    Error,
    changes::Changes,
    promotion,
    registry::{self, Registration},
};
use crate::{
    categorize::{Calibration, Group, Lineup, Seat, Stage, StageEntry},
    causes::with_causes,
    domain::{AdapterState, Taxonomy, adapter::EVERYONE},
    model::AdapterBank,
    pipeline::Pipeline,
    store::{self, Store, StoredAdapter},
};

/// Loads the adapters of one stage and taxonomy, each once.
pub struct Roster {
    store: Store,
    bank: AdapterBank,
    entry: StageEntry,
    taxonomy: Arc<Taxonomy>,
    /// As their folders have them, without what was fitted since.
    loaded: HashMap<i64, Stage>,
}

impl Roster {
    /// A roster that has loaded nothing yet.
    #[must_use]
    pub fn new(store: Store, bank: AdapterBank, entry: StageEntry, taxonomy: Arc<Taxonomy>) -> Self {
        Self { store, bank, entry, taxonomy, loaded: HashMap::new() }
    }

    /// Makes the adapter of a folder everybody's champion where there is none yet and it answers in the
    /// taxonomy: a new deployment begins with it.
    ///
    /// # Errors
    /// When the adapter can't be loaded, or the database fails.
    pub async fn begin_with(&self, dir: &Path, by: &str, now: DateTime<Utc>) -> Result<(), Error> {
        let stands = self.store.adapters(Some(self.taxonomy.version())).await?;
        if stands.iter().any(|adapter| adapter.is_champion_of(self.taxonomy.version(), EVERYONE)) || !dir.exists() {
            return Ok(());
        }
        if crate::model::AdapterFacts::read(dir)?.taxonomy != self.taxonomy.version() {
            return Ok(());
        }
        let what = Registration { dir, name: None, account_group: EVERYONE, by };
        let first = registry::register(&self.store, &self.bank, what, now).await?.adapter;
        let ask = promotion::Ask {
            to: AdapterState::Champion,
            share: 1.0,
            overrides: Some("the first adapter of this taxonomy".to_owned()),
            by: by.to_owned(),
        };
        match promotion::promote(&self.store, &first, ask, now).await {
            // Another server was first.
            Err(Error::Moved { .. } | Error::Store(store::Error::Constraint { .. })) => Ok(()),
            outcome => outcome,
        }
    }

    /// Who answers now. What is no longer on it is let go; what can't be loaded is left out and logged,
    /// so that a broken canary takes no traffic.
    ///
    /// # Errors
    /// When nobody is everybody's champion, the champion can't be loaded, or the database fails.
    pub async fn lineup(&mut self) -> Result<Lineup, Error> {
        let mut adapters = self.store.adapters(Some(self.taxonomy.version())).await?;
        adapters.retain(|adapter| adapter.state != AdapterState::Retired);
        self.loaded.retain(|id, _| adapters.iter().any(|adapter| adapter.id == *id));
        for adapter in &adapters {
            if self.loaded.contains_key(&adapter.id) {
                continue;
            }
            match self.load(adapter).await {
                Ok(stage) => {
                    tracing::info!(adapter.name = %adapter.reference(), adapter.state = %adapter.state, "loaded an adapter");
                    self.loaded.insert(adapter.id, stage);
                }
                Err(error) if adapter.is_champion_of(self.taxonomy.version(), EVERYONE) => return Err(error),
                Err(error) => {
                    tracing::error!(adapter.name = %adapter.reference(), error = %with_causes(&error), "can't load an adapter");
                }
            }
        }
        let mut stages = HashMap::new();
        let fitted = fitted(&self.store, &self.taxonomy).await?;
        for (id, stage) in &self.loaded {
            stages.insert(*id, Arc::new(stage.clone().with_fitted(&fitted)));
        }
        self.line_up(&adapters, &stages)
    }

    fn line_up(&self, adapters: &[StoredAdapter], stages: &HashMap<i64, Arc<Stage>>) -> Result<Lineup, Error> {
        let stage = |adapter: &StoredAdapter| stages.get(&adapter.id).cloned();
        let champion = |group: &str| {
            adapters.iter().find(|adapter| adapter.is_champion_of(self.taxonomy.version(), group)).and_then(stage)
        };
        let everybody =
            champion(EVERYONE).ok_or_else(|| Error::NoChampion { taxonomy: self.taxonomy.version().to_owned() })?;
        let mut groups: HashMap<String, Group> = HashMap::new();
        let mut everyone = Group::of(everybody.clone());
        let mut named = HashMap::new();
        for adapter in adapters {
            let Some(stage) = stage(adapter) else { continue };
            // Newest first: of one name, the newest version has it.
            named.entry(adapter.name.clone()).or_insert_with(|| stage.clone());
            named.insert(adapter.reference(), stage.clone());
            let group = if adapter.account_group == EVERYONE {
                &mut everyone
            } else {
                let own = || Group::of(champion(&adapter.account_group).unwrap_or_else(|| everybody.clone()));
                groups.entry(adapter.account_group.clone()).or_insert_with(own)
            };
            let seat = Seat { adapter: adapter.id, stage, share: adapter.share };
            match adapter.state {
                AdapterState::Shadow => group.shadows.push(seat),
                AdapterState::Canary => group.canary = Some(seat),
                AdapterState::Candidate | AdapterState::Champion | AdapterState::Retired => {}
            }
        }
        Ok(Lineup::new(everyone, groups, named))
    }

    async fn load(&self, adapter: &StoredAdapter) -> Result<Stage, Error> {
        let model = Arc::new(registry::open(&self.store, &self.bank, adapter).await?);
        Ok(Stage::of_adapter(&self.entry.name, self.entry.target, &self.taxonomy, model)?)
    }

    /// Keeps a pipeline's line-up as the registry has it, until it is dropped. Where that can't be, those
    /// who answered go on answering.
    pub async fn follow(mut self, pipeline: Arc<Pipeline>) {
        let mut changes = Changes::of(self.store.clone());
        loop {
            changes.listen().await;
            match self.lineup().await {
                Ok(lineup) => pipeline.swap(lineup),
                Err(error) => tracing::error!(error = %with_causes(&error), "the line-up stays as it was"),
            }
            changes.next().await;
        }
    }
}

/// Keeps what was fitted for a stage that answers alone as the database has it, until it is dropped.
pub async fn follow_fitted(store: Store, taxonomy: Arc<Taxonomy>, stage: Stage, pipeline: Arc<Pipeline>) {
    let mut changes = Changes::of(store.clone());
    loop {
        changes.listen().await;
        match fitted(&store, &taxonomy).await {
            Ok(fitted) => pipeline.swap(Lineup::alone(stage.clone().with_fitted(&fitted))),
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "the stage keeps what was fitted for it before");
            }
        }
        changes.next().await;
    }
}

/// What `txcat eval` fitted on dev in a taxonomy, by [`Stage::fitted_for`].
///
/// # Errors
/// When the database fails or holds what can't be read.
pub async fn fitted(store: &Store, taxonomy: &Taxonomy) -> Result<HashMap<String, Calibration>, Error> {
    let stored = store.calibrations(taxonomy.version()).await?.into_iter();
    let read = |of: store::Calibration| match serde_json::from_value(of.parameters) {
        Ok(fitted) => Ok((of.engine, fitted)),
        Err(source) => Err(Error::Fitted { engine: of.engine, source }),
    };
    stored.map(read).collect()
}
