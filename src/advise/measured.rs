//! Stages as they were measured here, as ways to answer: the tracker's runs on one file, with what calls and training took.
//!
//! What was measured goes in, and no guide's number but the name of its row.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use super::{
    accuracy::{Accuracy, Share},
    evidence::Looking,
    live::Live,
    range::Range,
    setup::{Bill, Lever, Machines, Setup, Tokens},
};
use crate::{
    categorize::PROMPT_ENGINE,
    store::{DayOfCalls, EvalRun, StoredAdapter},
};

/// The guide's row for an adapter of this program that nobody has stated a price of.
const ADAPTER_GUIDE: &str = "local_adapter";

/// Machine hours that training took, by engine, as registered adapters tell it.
pub(super) fn trainings(adapters: &[StoredAdapter]) -> HashMap<String, Decimal> {
    let hours = |adapter: &StoredAdapter| {
        let seconds = adapter.facts["effort"]["seconds"].as_f64()?;
        Some((adapter.engine.clone(), Decimal::try_from(seconds / 3_600.0).ok()?.round_dp(6)))
    };
    adapters.iter().filter_map(hours).collect()
}

/// What answers now where it was never scored: as accurate as people say.
pub(super) fn without_run(live: &Live, looking: Looking<'_>) -> Option<Setup> {
    let lever = lever(&live.engine)?;
    Some(bare(looking.serving, lever, live.accuracy()))
}

/// Which lever a stage pulls, by the engine that was measured; steps and mixtures pull none of their own.
fn lever(engine: &str) -> Option<Lever> {
    match engine.split(':').next()? {
        "adapter" => Some(Lever::FineTune),
        "prompt" | "nearest" => Some(Lever::Prompt),
        _ => None,
    }
}

/// What answers now, in words, where it could have been scored.
pub(super) fn unscored(looking: Looking<'_>) -> Option<String> {
    let engine = looking.engine.filter(|engine| lever(engine).is_some())?;
    Some(format!("`{}` ({engine})", looking.serving))
}

/// The newest run of every stage on every file, whatever its engine.
pub(super) fn newest(runs: &[EvalRun]) -> Vec<&EvalRun> {
    let place = |run: &EvalRun| (run.run.data_set.clone(), run.run.file.clone(), run.run.stage.clone());
    let mut newest: BTreeMap<(String, String, String), &EvalRun> = BTreeMap::new();
    for run in runs {
        let kept = newest.entry(place(run)).or_insert(run);
        if (run.run.started_at, run.id) > (kept.run.started_at, kept.id) {
            *kept = run;
        }
    }
    newest.into_values().collect()
}

/// Whether a file's rows have a part in choosing what is measured on them.
fn chooses(run: &EvalRun) -> bool {
    run.run.file.starts_with("dev")
}

/// What answers now and what other stages there are, all measured on one file: that on which most stages were measured and the
/// engine that answers was; of several the newest, held-out ones before the file that choices were made on.
pub(super) fn setups(
    runs: &[EvalRun],
    calls: &[DayOfCalls],
    trained: &HashMap<String, Decimal>,
    looking: Looking<'_>,
) -> (Option<Setup>, Vec<Setup>) {
    let file = |run: &EvalRun| (run.run.data_set.clone(), run.run.file.clone());
    let stages = newest(runs);
    let on = |of: &(String, String)| stages.iter().filter(|run| file(run) == *of).copied().collect::<Vec<_>>();
    let chosen = runs.iter().filter(|run| looking.is_served(&run.run.engine)).max_by_key(|run| {
        let by_name = run.run.stage == looking.serving;
        (by_name, on(&file(run)).len(), !chooses(run), run.run.started_at, run.id)
    });
    let Some(chosen) = chosen else { return (None, Vec::new()) };
    let named = |setup: Setup| Setup { name: looking.serving.to_owned(), ..setup };
    let today = setup(chosen, trained, looking).map(|today| billed(named(today), calls, looking));
    let other = |run: &&EvalRun| ![looking.serving, chosen.run.stage.as_str()].contains(&run.run.stage.as_str());
    let others = on(&file(chosen)).into_iter().filter(other);
    (today, others.filter_map(|run| setup(run, trained, looking)).collect())
}

fn setup(run: &EvalRun, trained: &HashMap<String, Decimal>, looking: Looking<'_>) -> Option<Setup> {
    let (chosen_on, run) = (chooses(run), &run.run);
    let lever = lever(&run.engine)?;
    let cost = run.cost_per_1000.filter(|_| run.currency.as_deref() == Some(looking.currency.code()));
    let bill = cost.map(|cost| Bill { amount: Range::exact(cost), transactions: 1_000 });
    let rows_per_s = Decimal::try_from(run.rows_per_s?).ok()?.round_dp(3);
    if rows_per_s <= Decimal::ZERO {
        return None;
    }
    let machines = Machines { rows_per_s: Range::exact(rows_per_s), price_per_hour: None, at_least: None, peak: None };
    let accuracy = Accuracy::Measured {
        right: u32::try_from(run.correct).ok()?,
        rows: u32::try_from(run.rows).ok()?,
        data: format!("{}/{}", run.data_set, run.file),
        engine: run.engine.clone(),
        chosen_on,
    };
    Some(Setup {
        machines: bill.is_none().then_some(machines),
        bill,
        training_hours: trained.get(&run.engine).copied().map(Range::exact),
        ..bare(&run.stage, lever, accuracy)
    })
}

/// The chat model of an engine that asks one.
fn chat_model(engine: &str) -> Option<&str> {
    Some(engine.strip_prefix(PROMPT_ENGINE)?.rsplit_once(':')?.0)
}

/// A stage of which only the accuracy is known.
fn bare(stage: &str, lever: Lever, accuracy: Accuracy) -> Setup {
    Setup {
        name: stage.to_owned(),
        lever,
        accuracy,
        guide: Some(if lever == Lever::FineTune { ADAPTER_GUIDE } else { "prompting" }.to_owned()),
        one_off: None,
        weeks: None,
        machines: None,
        bill: None,
        tokens: None,
        per_month: None,
        training: None,
        training_hours: None,
        retraining: None,
    }
}

/// What answers now with what its calls took and cost, where a chat model answers: evaluations, batches and training are
/// booked under other names, and other models answer other things.
pub(super) fn billed(today: Setup, calls: &[DayOfCalls], looking: Looking<'_>) -> Setup {
    let Accuracy::Measured { engine, .. } = &today.accuracy else { return today };
    let Some(model) = chat_model(engine) else { return today };
    let ours = || calls.iter().filter(|day| day.currency == looking.currency.code() && day.model == model);
    let transactions: u64 = ours().filter_map(|day| u64::try_from(day.answered_rows?).ok()).sum();
    if transactions == 0 {
        return today;
    }
    let sum = |of: fn(&DayOfCalls) -> i64| Decimal::from(ours().map(of).sum::<i64>());
    let each = |tokens: Decimal| Range::exact(tokens / Decimal::from(transactions));
    let (prompt, cached) = (sum(|day| day.prompt_tokens), sum(|day| day.cached_tokens));
    let cached_share = super::range::ratio(cached, prompt.max(Decimal::ONE)).clamp(0.0, 1.0);
    let tokens = looking.price.map(|price| Tokens {
        prompt: Some(each(prompt)),
        answer: each(sum(|day| day.completion_tokens)),
        cached_share: Share::try_from(cached_share).unwrap_or_default(),
        batch_share: Share::default(),
        price,
    });
    let amount = Range::exact(ours().map(|day| day.cost).sum());
    Setup { bill: Some(Bill { amount, transactions }), machines: None, tokens, ..today }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rust_decimal::dec;
    use serde_json::json;

    use super::*;
    use crate::{advise::setup::TokenPrice, domain::AdapterState, store::NewEvalRun};

    fn run(id: i64, file: &str, stage: &str, engine: &str, correct: i32) -> EvalRun {
        let run = NewEvalRun {
            started_at: DateTime::UNIX_EPOCH,
            data_set: "shops".to_owned(),
            file: file.to_owned(),
            file_sha256: [0; 32],
            stage: stage.to_owned(),
            engine: engine.to_owned(),
            peer: false,
            taxonomy: "t@1".to_owned(),
            label_budget: None,
            labels_sha256: None,
            seed: None,
            code_version: None,
            target: Some(0.92),
            rows: 1_000,
            correct,
            known_rows: 0,
            known_correct: 0,
            macro_f1: 0.5,
            ece: Some(0.1),
            coverage_at_target: Some(0.5),
            rows_per_s: Some(250.0),
            cost_per_1000: engine.starts_with("prompt").then_some(dec!(1.40)),
            currency: engine.starts_with("prompt").then(|| "USD".to_owned()),
        };
        EvalRun { id, run }
    }

    fn looking<'a>(serving: &'a str, engine: &'a str) -> Looking<'a> {
        let currency = "USD".parse().unwrap();
        Looking { serving, engine: Some(engine), taxonomy: "t@1", currency, price: None }
    }

    #[test]
    fn what_answers_today_is_compared_with_what_was_measured_on_the_same_file() {
        let runs = [
            run(1, "dev.csv.gz", "few_shot", "prompt:m:few_shot_v1@1", 800),
            run(2, "dev.csv.gz", "adapter", "adapter:a@1", 950),
            run(3, "test_recent.csv.gz", "few_shot", "prompt:m:few_shot_v1@1", 790),
            run(4, "test_recent.csv.gz", "known_key", "known_key:a@1", 700),
            run(5, "test_recent.csv.gz", "adapter", "adapter:a@1", 940),
        ];
        let trained = HashMap::from([("adapter:a@1".to_owned(), dec!(0.25))]);
        let (today, options) = setups(&runs, &[], &trained, looking("few_shot", "prompt:m:few_shot_v1@1"));
        let today = today.unwrap();
        assert_eq!((today.name.as_str(), today.accuracy.share().get()), ("few_shot", 0.79));
        assert_eq!(today.bill.map(|bill| (bill.amount.low, bill.transactions)), Some((dec!(1.40), 1_000)));
        let names: Vec<(&str, Lever)> = options.iter().map(|option| (option.name.as_str(), option.lever)).collect();
        assert_eq!(names, [("adapter", Lever::FineTune)]);
        assert_eq!(options[0].machines.map(|machines| machines.rows_per_s), Some(Range::exact(dec!(250))));
        assert_eq!(options[0].training_hours, Some(Range::exact(dec!(0.25))));
        assert_eq!(options[0].guide.as_deref(), Some("local_adapter"));
        let nobody = looking("adapter", "adapter:b@2");
        assert_eq!(setups(&runs, &[], &trained, nobody), (None, Vec::new()));
        assert_eq!(unscored(nobody).unwrap(), "`adapter` (adapter:b@2)");
    }

    #[test]
    fn today_is_what_serves_and_not_what_was_scored_last() {
        let runs = [
            run(1, "dev", "adapter", "adapter:a@1", 970),
            run(2, "test", "few_shot", "prompt:m:few_shot_v1@1", 790),
            run(3, "test", "adapter", "adapter:a@1", 950),
            run(4, "test", "adapter", "adapter:weak@2", 300),
        ];
        let serves = |engine| setups(&runs, &[], &HashMap::new(), looking("adapter", engine));
        let (today, options) = serves("adapter:a@1");
        let rated = today.unwrap().accuracy.rated();
        assert_eq!((rated.share, rated.source.as_str(), rated.chosen_on), (0.95, "shops/test", false));
        assert_eq!(options.iter().map(|option| option.name.as_str()).collect::<Vec<_>>(), ["few_shot"]);
        let on_dev = setups(&runs[..1], &[], &HashMap::new(), looking("adapter", "adapter:a@1")).0.unwrap();
        assert!(on_dev.accuracy.flatters());
        assert_eq!(serves("adapter:weak@2").0.unwrap().accuracy.share().get(), 0.3);
        assert_eq!(serves("adapter:other@3").0, None);
    }

    #[test]
    fn what_a_training_took_is_read_of_the_facts_that_the_registry_keeps() {
        let adapter = |engine: &str, facts| StoredAdapter {
            id: 1,
            name: "mine".to_owned(),
            version: 1,
            engine: engine.to_owned(),
            taxonomy: "t@1".to_owned(),
            account_group: String::new(),
            base: "small".to_owned(),
            base_sha256: "00".to_owned(),
            label_manifest: None,
            erased_rows: 0,
            facts,
            state: AdapterState::Candidate,
            share: 1.0,
            state_since: DateTime::UNIX_EPOCH,
            registered_by: "anna".to_owned(),
            registered_at: DateTime::UNIX_EPOCH,
        };
        let trained = adapter("adapter:mine@1", json!({ "data": "ours", "effort": { "rows": 9, "seconds": 5_400.0 } }));
        let imported = adapter("adapter:theirs@1", json!({ "data": "theirs", "effort": null }));
        assert_eq!(trainings(&[trained, imported]), HashMap::from([("adapter:mine@1".to_owned(), dec!(1.5))]));
    }

    #[test]
    fn a_month_of_calls_is_the_bill_of_what_answers_today() {
        let day = |model: &str, rows, cost, currency: &str| DayOfCalls {
            day: DateTime::UNIX_EPOCH.date_naive(),
            model: model.to_owned(),
            calls: 1,
            rows,
            prompt_tokens: 300 * rows,
            cached_tokens: 150 * rows,
            completion_tokens: 20 * rows,
            cost,
            currency: currency.to_owned(),
            failed: 0,
            answered_rows: Some(rows),
            unpriced: 0,
        };
        let training = DayOfCalls { answered_rows: None, ..day("m:8b:training", 500, dec!(270), "USD") };
        let calls = [
            day("m:8b", 100, dec!(0.20), "USD"),
            day("m:8b", 300, dec!(0.40), "USD"),
            day("m:8b", 9, dec!(5), "EUR"),
            day("m:8b:evaluation", 4_000, dec!(90), "USD"),
            day("m:8b:batches", 4_000, dec!(45), "USD"),
            day("m", 1_000, dec!(7), "USD"),
            training,
        ];
        let runs = [run(1, "dev", "few_shot", "prompt:m:8b:p@1", 800)];
        let price = TokenPrice { prompt: Range::ONE, cached: None, completion: Range::ONE, batch: None, premium: None };
        let (today, _) = setups(
            &runs,
            &calls,
            &HashMap::new(),
            Looking { price: Some(price), ..looking("few_shot", "prompt:m:8b:p@1") },
        );
        let today = today.unwrap();
        assert_eq!(today.bill, Some(Bill { amount: Range::exact(dec!(0.60)), transactions: 400 }));
        let tokens = today.tokens.unwrap();
        assert_eq!((tokens.prompt, tokens.answer), (Some(Range::exact(dec!(300))), Range::exact(dec!(20))));
        assert!((tokens.cached_share.get() - 0.5).abs() < 1e-9);
    }
}
