//! What this deployment knows by itself: the tracker's runs, what people said of live answers, the label gate's reports, the
//! last 30 days of traffic and of calls to chat models. It reads and counts; nothing is decided here.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accuracy::Share,
    live::Live,
    measured,
    scenario::Scenario,
    setup::{Setup, TokenPrice},
};
use crate::{
    domain::Currency,
    store::{self, EvalRun, Store, StoredDataset},
};

/// Days of traffic that are taken for a month.
pub const DAYS: i64 = 30;
/// Labelled sets that are looked through for one that passed.
const SETS: u32 = 100;

/// How something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceBasis)]
pub enum Basis {
    /// Counted in this deployment.
    Measured,
    /// The scenario, a flag or a member says so.
    Stated,
    /// Nobody has said: it is asked.
    Asked,
}

/// A number, and how it is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact<T> {
    pub(super) value: T,
    pub(super) basis: Basis,
    pub(super) says: String,
}

/// What this deployment knows by itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Transactions of the last 30 days.
    volume: Option<Fact<u64>>,
    /// Labels of the newest set that passed the gate.
    labels: Option<Fact<u64>>,
    /// The highest target of the stages that were measured.
    target: Option<Fact<Share>>,
    /// What answers now.
    today: Option<Setup>,
    /// What else was measured on the same file.
    options: Vec<Setup>,
    /// What people said of today's answers.
    live: Option<Live>,
    /// What answers now, where nobody has scored it.
    unscored: Option<String>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Looking<'a> {
    /// The stage that answers.
    pub serving: &'a str,
    /// Its engine, as runs name it; `None` where that is not known.
    pub engine: Option<&'a str>,
    /// The taxonomy that it answers in.
    pub taxonomy: &'a str,
    /// What amounts must be in; what is in another currency is passed over.
    pub currency: Currency,
    /// What the chat model's tokens cost, where that is known.
    pub price: Option<TokenPrice>,
}

impl Looking<'_> {
    /// Whether an engine is the one that answers.
    pub(super) fn is_served(&self, engine: &str) -> bool {
        self.engine.is_some_and(|serving| but_labels(serving) == but_labels(engine))
    }
}

/// An engine without the labels that prompts and nearest example show or compare with: there is another one with each label.
fn but_labels(engine: &str) -> &str {
    let Some((kind, version)) = engine.rsplit_once('@') else { return engine };
    match engine.split(':').next() {
        Some("nearest") => kind,
        Some("prompt") => &engine[..=kind.len() + version.find('-').unwrap_or(version.len())],
        _ => engine,
    }
}

impl Known {
    /// Reads what there is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(store: &Store, looking: Looking<'_>, now: DateTime<Utc>) -> Result<Self, store::Error> {
        let since = now - TimeDelta::days(DAYS);
        let rows: u64 = store.traffic(since).await?.keys.iter().map(|(_, rows)| rows).sum();
        let sets = store.datasets(SETS).await?;
        let calls = store.days_of_calls(since).await?;
        let runs = store.latest_engine_runs(looking.taxonomy).await?;
        let trained = measured::trainings(&store.adapters(None).await?);
        let (today, options) = measured::setups(&runs, &calls, &trained, looking);
        let live = Live::of(&store.live_accuracy().await?, looking, today.as_ref());
        let today =
            today.or_else(|| Some(measured::billed(measured::without_run(live.as_ref()?, looking)?, &calls, looking)));
        let counted = |value: u64, says: String| Fact { value, basis: Basis::Measured, says };
        Ok(Self {
            volume: (rows > 0).then(|| counted(rows, format!("transactions posted in the last {DAYS} days"))),
            labels: labels(&sets).map(|(labels, says)| counted(labels, says)),
            target: target(&measured::newest(&runs)),
            unscored: if today.is_some() { None } else { measured::unscored(looking) },
            today,
            options,
            live,
        })
    }

    /// The scenario with what it left out, where it is about this deployment: where it does not say what answers today.
    pub(super) fn fill(&self, scenario: Scenario) -> Case {
        let about_us = scenario.today.is_none();
        let stated = |member: &str| match scenario.flags.contains(member) {
            true => format!("said by --{}", member.replace('_', "-")),
            false => format!("the scenario's `{member}`"),
        };
        let volume = fact(scenario.transactions_per_month, stated("transactions_per_month"));
        let labels = fact(scenario.labels, stated("labels"));
        let target = fact(scenario.target, stated("target"));
        if !about_us {
            return Case { scenario, volume, labels, target, live: None, unscored: None };
        }
        let named = |setup: &&Setup| scenario.options.iter().all(|option| option.name != setup.name);
        let options = self.options.iter().filter(named).chain(&scenario.options).cloned().collect();
        Case {
            volume: volume.or_else(|| self.volume.clone()),
            labels: labels.or_else(|| self.labels.clone()),
            target: target.or_else(|| self.target.clone()),
            live: self.live.clone(),
            unscored: self.unscored.clone(),
            scenario: Scenario { today: self.today.clone(), options, ..scenario },
        }
    }
}

fn fact<T>(value: Option<T>, says: String) -> Option<Fact<T>> {
    Some(Fact { value: value?, basis: Basis::Stated, says })
}

/// A scenario with what is known beside it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    pub(super) scenario: Scenario,
    pub(super) volume: Option<Fact<u64>>,
    pub(super) labels: Option<Fact<u64>>,
    pub(super) target: Option<Fact<Share>>,
    pub(super) live: Option<Live>,
    /// What answers now, where nobody has scored it.
    pub(super) unscored: Option<String>,
}

/// The labels that passed, of the newest set that did.
fn labels(sets: &[StoredDataset]) -> Option<(u64, String)> {
    let set = sets.iter().find(|set| set.passed)?;
    let good = u64::try_from(set.rows - set.quarantined).unwrap_or(0);
    let (rows, day) = (set.rows, set.checked_at.date_naive());
    Some((good, format!("of {rows} labels of `{}` this many passed the label gate on {day}", set.name)))
}

fn target(runs: &[&EvalRun]) -> Option<Fact<Share>> {
    let targets = runs.iter().filter_map(|run| Some((run.run.target?, &run.run.stage)));
    let (highest, stage) = targets.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let says = format!("the target of stage `{stage}`");
    Some(Fact { value: highest.try_into().ok()?, basis: Basis::Stated, says })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looking(engine: Option<&str>) -> Looking<'_> {
        Looking { serving: "s", engine, taxonomy: "t@1", currency: "USD".parse().unwrap(), price: None }
    }

    fn served(serving: &str, engine: &str) -> bool {
        looking(Some(serving)).is_served(engine)
    }

    #[test]
    fn an_adapter_is_served_by_its_weights_and_a_prompt_whatever_labels_it_shows() {
        assert!(served("adapter:a@1", "adapter:a@1") && !served("adapter:a@1", "adapter:a@2"));
        assert!(
            served("nearest:few_shot@", "nearest:few_shot@9f2c") && !served("nearest:few_shot@", "nearest:other@9f2c")
        );
        assert!(served("prompt:m:8b:v1@9f2c", "prompt:m:8b:v1@9f2c-0a1b+8"));
        assert!(
            !served("prompt:m:8b:v1@9f2c", "prompt:m:8b:v1@77aa-0a1b+8") && !looking(None).is_served("adapter:a@1")
        );
    }
}
