//! Which stage answers whom: champions by account group, a canary in a champion's place for a share of the
//! accounts, shadows beside it, and stages that a caller asks for by name.
//!
//! A line-up never changes; another takes its place as a whole. A batch keeps the one that it began with.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures::future::join_all;

use super::{Error, Stage};
use crate::domain::{AccountId, EnrichedTransaction, Prediction, Transaction, adapter::EVERYONE, draw::drawn};

/// A stage that sees a share of a group's accounts.
#[derive(Clone)]
pub struct Seat {
    /// Its adapter's number in the registry.
    pub adapter: i64,
    /// The stage.
    pub stage: Arc<Stage>,
    /// Share of the accounts, in `[0, 1]`.
    pub share: f32,
}

impl Seat {
    fn sees(&self, account: &AccountId) -> bool {
        drawn(account.as_str(), self.stage.engine(), self.share)
    }
}

/// Who answers one group of accounts.
#[derive(Clone)]
pub struct Group {
    /// Answers whom no canary takes.
    pub champion: Arc<Stage>,
    /// Answers its share in the champion's place.
    pub canary: Option<Seat>,
    /// Say beside it what they would have answered.
    pub shadows: Vec<Seat>,
}

impl Group {
    /// A champion without company.
    #[must_use]
    pub fn of(champion: Arc<Stage>) -> Self {
        Self { champion, canary: None, shadows: Vec::new() }
    }
}

/// Who answers whom.
pub struct Lineup {
    everyone: Group,
    groups: HashMap<String, Group>,
    named: HashMap<String, Arc<Stage>>,
}

impl Lineup {
    /// One stage for everybody.
    #[must_use]
    pub fn alone(stage: Stage) -> Self {
        Self::new(Group::of(Arc::new(stage)), HashMap::new(), HashMap::new())
    }

    /// A line-up by account group, and what callers may ask for by name.
    #[must_use]
    pub fn new(everyone: Group, groups: HashMap<String, Group>, named: HashMap<String, Arc<Stage>>) -> Self {
        Self { everyone, groups, named }
    }

    /// Everybody's champion.
    #[must_use]
    pub fn champion(&self) -> &Stage {
        &self.everyone.champion
    }

    /// The stage of a name, such as `consumer@3`, or `consumer` for the newest of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Stage>> {
        self.named.get(name)
    }

    /// Whether it matters which group an account is in.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    fn group(&self, group: Option<&String>) -> &Group {
        group.filter(|group| *group != EVERYONE).and_then(|group| self.groups.get(group)).unwrap_or(&self.everyone)
    }

    /// Who answers an account of a group.
    #[must_use]
    pub fn answers(&self, account: &AccountId, group: Option<&String>) -> &Arc<Stage> {
        let group = self.group(group);
        group.canary.as_ref().filter(|canary| canary.sees(account)).map_or(&group.champion, |canary| &canary.stage)
    }

    /// Every engine that may answer, in order: champions and canaries of all groups.
    #[must_use]
    pub fn engines(&self) -> Vec<String> {
        let engines: BTreeSet<&str> = self.stages().map(|stage| stage.engine()).collect();
        engines.into_iter().map(str::to_owned).collect()
    }

    /// Whether one of them answers with this row's own label at hand.
    #[must_use]
    pub fn has_label_of(&self, row: &Transaction) -> bool {
        self.stages().any(|stage| stage.has_label_of(row))
    }

    /// Champions and canaries of all groups.
    fn stages(&self) -> impl Iterator<Item = &Arc<Stage>> {
        let groups = self.groups.values().chain([&self.everyone]);
        groups.flat_map(|group| {
            [Some(&group.champion), group.canary.as_ref().map(|canary| &canary.stage)].into_iter().flatten()
        })
    }

    /// Who looks on.
    pub fn shadows(&self, account: &AccountId, group: Option<&String>) -> impl Iterator<Item = &Seat> {
        self.group(group).shadows.iter().filter(|shadow| shadow.sees(account))
    }
}

/// Asks for each row the stage beside it, all stages at once; answers in the rows' order, before calibration.
///
/// # Errors
/// When one of the stages fails.
pub async fn together(rows: &[EnrichedTransaction], stages: &[&Arc<Stage>]) -> Result<Vec<Prediction>, Error> {
    let mut parts: Vec<(&Arc<Stage>, Vec<usize>)> = Vec::new();
    for (place, stage) in stages.iter().enumerate() {
        match parts.iter_mut().find(|(other, _)| Arc::ptr_eq(other, stage)) {
            Some((_, places)) => places.push(place),
            None => parts.push((stage, vec![place])),
        }
    }
    if let [(stage, places)] = parts.as_slice()
        && places.len() == rows.len()
    {
        return stage.raw(rows).await;
    }
    let asked = parts.iter().map(async |(stage, places)| {
        let batch: Vec<EnrichedTransaction> = places.iter().map(|&place| rows[place].clone()).collect();
        stage.raw(&batch).await
    });
    let mut answers: Vec<Option<Prediction>> = vec![None; rows.len()];
    let mut failure = None;
    for ((_, places), said) in parts.iter().zip(join_all(asked).await) {
        let said = match said {
            Ok(said) => said.into_iter().map(Some).collect(),
            Err(Error::Partly { answers, source }) => {
                failure = Some(source);
                answers
            }
            Err(error) => {
                failure = Some(Arc::new(error));
                continue;
            }
        };
        places.iter().zip(said).for_each(|(&place, said)| answers[place] = said);
    }
    match failure {
        Some(source) => Err(Error::Partly { answers, source }),
        None => Ok(answers.into_iter().flatten().collect()),
    }
}
