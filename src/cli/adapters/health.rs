//! `txcat adapters health`: whether the champion should be trained again.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanDuration;

use super::retrain::{LABEL_LIMIT, Split, few};
use crate::{
    adapters::{
        health::{self, Diagnosis, Limits, Signs},
        registry,
        watch::Comparison,
    },
    cli::{Settings, service::Serving},
    clock,
    domain::adapter::EVERYONE,
    evaluate::drift::{BINS, Drift, Period},
    model::BaseEncoder,
    store::Store,
};

/// Days at the begin and at the end of an adapter's service whose corrections are compared.
const DAYS: i64 = 30;
/// Fewer answers than this show no drift.
const LEAST_ANSWERS: u64 = 100;

/// Looks for reasons to train again: corrections more frequent than in its first 30 days, audited answers below
/// the target, drift of the answers, age, another base encoder, new labels. Where there is one, a retraining plan opens and stays
/// open until a candidate was trained (`txcat adapters retrain`).
#[derive(Debug, clap::Args)]
pub struct Health {
    /// Look at this adapter. [default: everybody's champion]
    #[arg(value_name = "REFERENCE")]
    pub reference: Option<String>,

    /// Days after which an adapter is old.
    #[arg(long, default_value_t = Limits::default().most_days)]
    pub most_days: i64,

    /// Print one JSON object instead of sentences.
    #[arg(long)]
    pub json: bool,

    /// Which taxonomy and stage.
    #[command(flatten)]
    pub serving: Serving,
}

impl Health {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let now = clock::now();
        let taxonomy = self.serving.taxonomy_in_force(store).await?;
        let adapter = match &self.reference {
            Some(reference) => registry::find(store, reference).await?,
            None => {
                let adapters = store.adapters(Some(taxonomy.version())).await?;
                let champion =
                    adapters.into_iter().find(|adapter| adapter.is_champion_of(taxonomy.version(), EVERYONE));
                champion.with_context(|| format!("nobody is champion of the taxonomy {}", taxonomy.version()))?
            }
        };
        let begin = adapter.state_since + TimeDelta::days(DAYS);
        let end = (now - TimeDelta::days(DAYS)).max(begin);
        let new = store.live_tally(&adapter.engine, adapter.state_since, Some(begin)).await?;
        let recent = store.live_tally(&adapter.engine, end, None).await?;
        let then = period(store, &adapter.engine, adapter.state_since, Some(begin)).await?;
        let lately = period(store, &adapter.engine, end, None).await?;
        let enough = then.rows().min(lately.rows()) >= LEAST_ANSWERS;
        let base = BaseEncoder::locate(&settings.models).ok().map(|base| [adapter.base_sha256.clone(), base.sha256]);
        let left_for = store.taxonomy_left(&adapter.taxonomy).await?;
        let learnable = Split::in_store(store, LABEL_LIMIT, &adapter.taxonomy).await?.learned();
        let signs = Signs {
            left_for,
            learnable: u32::try_from(learnable)?,
            registered_at: adapter.registered_at,
            labels: u32::try_from(adapter.facts["labels"].as_u64().unwrap_or_default())?,
            new_labels: store.labels_since(adapter.id).await?,
            corrections: Comparison::of(recent, new),
            drift: enough.then(|| Drift::between(&then, &lately)),
            tally: store.live_tally(&adapter.engine, adapter.state_since, None).await?,
            target: self.serving.entry()?.target,
            base,
            effort: effort(&adapter.facts["effort"]),
        };
        let limits = Limits { most_days: self.most_days, ..Limits::default() };
        let found = health::diagnose(&signs, limits, now);
        let plan = match found.reasons.is_empty() {
            true => None,
            false => Some(store.open_plan(adapter.id, &serde_json::to_value(&found)?, now).await?),
        };
        if self.json {
            let plan = plan.map(|plan| serde_json::json!({ "id": plan.id, "opened_at": plan.opened_at }));
            let all = serde_json::json!({
                "adapter": adapter.reference(), "signs": signs, "limits": limits, "diagnosis": found, "plan": plan,
            });
            println!("{all}");
            return Ok(());
        }
        println!("{}: {}", adapter.reference(), if found.reasons.is_empty() { "healthy" } else { "train it again" });
        tell(&found);
        if let Some(warning) = few(learnable, u64::from(signs.labels)) {
            println!("  {warning}");
        }
        if let Some(plan) = plan {
            println!("plan {} is open since {}", plan.id, plan.opened_at.format("%Y-%m-%d %H:%M"));
            match &signs.left_for {
                Some(now) => println!("next: txcat train on labels in the words of {now}"),
                None => println!("next: txcat adapters retrain --out models/adapters/{}-next", adapter.name),
            }
        }
        Ok(())
    }
}

/// What an engine answered in a stretch of time, counted.
async fn period(
    store: &Store,
    engine: &str,
    since: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
) -> anyhow::Result<Period> {
    let mut period = Period::default();
    for count in store.answer_counts(engine, since, until, u32::try_from(BINS)?).await? {
        let rows = u64::from(count.rows);
        *period.classes.entry(count.category).or_default() += rows;
        let bins = if count.known { &mut period.known } else { &mut period.unknown };
        bins[count.bin as usize] += rows;
        period.confidence += count.confidence;
    }
    Ok(period)
}

fn effort(told: &serde_json::Value) -> Option<(usize, f64)> {
    Some((usize::try_from(told["rows"].as_u64()?).ok()?, told["seconds"].as_f64()?))
}

fn tell(found: &Diagnosis) {
    for reason in &found.reasons {
        println!("  {}: {}", reason.name, reason.says);
    }
    match (found.audited, found.expected_gain) {
        (Some(share), Some(gain)) => println!(
            "  {:.1} % of {} audited answers are right; back at the target is {:+.1} points",
            100.0 * share.share,
            share.n,
            100.0 * gain
        ),
        _ => println!("  no audited answers yet, so what there is to gain is not known"),
    }
    let seconds = found.seconds.map(|seconds| HumanDuration(std::time::Duration::from_secs_f64(seconds)));
    let cost =
        seconds.map_or_else(|| "its last training told no time".to_owned(), |time| format!("about {time} of training"));
    println!("  {} labels to learn from; {cost}", found.labels);
}
