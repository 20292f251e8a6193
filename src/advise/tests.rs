//! Advice as a whole: the shipped scenario against sums by hand, verdicts that follow the numbers, and what must hold of
//! any numbers.

use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use super::{
    Advice, Costs, Error, Known, Scenario,
    accuracy::Accuracy,
    advise, decide,
    economics::Weighed,
    findings::Finding,
    prompt_length::Holds,
    questions::{Question, Said},
    range::Range,
    scenario::Reply,
    setup::Setup,
    verdict::Code,
    weighed,
};

fn fintech() -> Scenario {
    Scenario::from_toml(include_str!("../../eval/scenarios/fintech.toml")).unwrap()
}

fn advice(scenario: Scenario) -> Advice {
    let day = "2026-11-25".parse().unwrap();
    advise(scenario, &Known::default(), &Costs::compiled_in().unwrap(), day).unwrap()
}

fn option<'a>(advice: &'a Advice, name: &str) -> &'a Weighed {
    found(&advice.options, name)
}

fn found<'a>(options: &'a [Weighed], name: &str) -> &'a Weighed {
    options.iter().find(|option| option.name == name).unwrap()
}

/// The verdict and the options, without what would change them: that asks for a verdict hundreds of times.
fn decided(scenario: Scenario) -> (Code, Vec<Weighed>) {
    let guide = Costs::compiled_in().unwrap().on("2026-11-25".parse().unwrap()).unwrap();
    let case = Known::default().fill(scenario);
    let decision = decide::decide(&case, &guide);
    let (_, options) = weighed(&case, &guide, &decision);
    (decision.verdict.code, options)
}

/// The scenario with something changed.
fn with(change: impl FnOnce(&mut Scenario)) -> Advice {
    let mut scenario = fintech();
    change(&mut scenario);
    advice(scenario)
}

fn on(scenario: &mut Scenario, name: &str, change: impl FnOnce(&mut Setup)) {
    change(scenario.options.iter_mut().find(|option| option.name == name).unwrap());
}

fn no(because: &str) -> Option<Reply> {
    Some(Reply { answer: false, because: Some(because.to_owned()) })
}

#[test]
fn the_scenario_is_told_prompt_first_then_fine_tune() {
    let advice = advice(fintech());
    assert_eq!(advice.verdict.code, Code::PromptThenFineTune, "{}", advice.verdict.says);
    let steps: Vec<&str> = advice.verdict.steps.iter().filter_map(|step| step.option.as_deref()).collect();
    assert_eq!(steps, ["prompt", "lora"]);
    assert_eq!(advice.verdict.stopped_at, None);
    let answers: Vec<Said> = advice.questions.iter().map(|given| given.answer).collect();
    assert_eq!(answers, [Said::No, Said::No, Said::Yes, Said::Yes, Said::Yes, Said::Yes]);
    assert!(advice.asked.is_empty());
}

#[test]
fn the_scenarios_sums_are_those_of_a_hand() {
    let advice = advice(fintech());
    let (prompt, lora, switch) = (option(&advice, "prompt"), option(&advice, "lora"), option(&advice, "model_switch"));
    let today = advice.today.as_ref().unwrap();
    let range = |low: Decimal, high: Decimal| Some(Range { low, high });
    assert_eq!(today.per_month, range(dec!(4200), dec!(4200)));
    // 3 million × (3,700 × 0.40 + 25 × 1.60) / 1 million
    assert_eq!(prompt.per_month, range(dec!(4560), dec!(4560)));
    // 0 – 100 and one week of 2,000 – 3,000
    assert_eq!(prompt.one_off, range(dec!(2000), dec!(3100)));
    assert_eq!(prompt.payback.unwrap().best, None, "a longer prompt saves nothing");
    // 730 h × 0.10 … 2 × 730 h × 1.20, and 0.1 – 0.5 weeks of 2,000 – 3,000 every 3 months
    let month = lora.per_month.unwrap();
    assert_eq!((month.low.round_dp(2), month.high.round_dp(2)), (dec!(139.67), dec!(2252)));
    assert_eq!(lora.retrain_every_months, Some(3));
    // 6,000 / (4,200 − 139.67) and 6,000 / (4,200 − 2,252)
    let payback = lora.payback.unwrap();
    assert!((payback.best.unwrap() - 6_000.0 / 4_060.333_333).abs() < 1e-6, "{payback:?}");
    assert!((payback.worst.unwrap() - 6000.0 / 1948.0).abs() < 1e-6, "{payback:?}");
    // (0 + 12 × 13,800) / 6 points
    assert_eq!(switch.extra_over_horizon, range(dec!(165600), dec!(165600)));
    assert_eq!(switch.cost_per_point, range(dec!(27600), dec!(27600)));
    assert_eq!(lora.cost_per_point.unwrap().low, Decimal::ZERO, "it saves");
    // 18 % and 8 % of 3 million
    assert_eq!((today.errors_per_month, lora.errors_per_month), (Some(540_000), Some(240_000)));
    // 0.002 × 4 + 0.01 × 0.5 / 60 × 20 … 0.002 × 8 + 0.01 × 0.5 / 60 × 40, for each of 240,000
    let errors = lora.errors_cost_per_month.unwrap();
    assert_eq!((errors.low.round_dp(2), errors.high.round_dp(2)), (dec!(2320), dec!(4640)));
    // From 6,000 = 12 × (N × 0.0014 − month) on
    let volume = |month: f64| (500.0 + month) / 0.0014;
    let found = lora.break_even.unwrap();
    assert_eq!(found.best, Some(volume(139.666_666_667).ceil() as u64));
    assert_eq!(found.worst, Some(volume(2252.0).ceil() as u64));
}

#[test]
fn the_switch_is_a_cost_problem_and_not_one_of_accuracy() {
    let advice = advice(fintech());
    let switch = option(&advice, "model_switch");
    assert_eq!(switch.finding, Finding::CostProblem, "{}", switch.says);
    assert!(
        switch.says.contains("+6 points over today") && switch.says.contains("+1 over `prompt`"),
        "{}",
        switch.says
    );
    assert!(switch.says.contains("13,800 USD a month more"), "{}", switch.says);
    let cheap = with(|scenario| on(scenario, "model_switch", |setup| setup.bill.as_mut().unwrap().amount = Range::ONE));
    assert_eq!(option(&cheap, "model_switch").finding, Finding::NotNow);
    let worse = with(|scenario| {
        on(scenario, "model_switch", |setup| {
            setup.accuracy = Accuracy::Claimed { share: 0.80.try_into().unwrap(), source: "a page".to_owned() };
        });
    });
    assert_eq!(option(&worse, "model_switch").finding, Finding::AccuracyProblem);
}

#[test]
fn the_claimed_payback_holds_from_a_prompt_length_on_that_is_solved_for() {
    let advice = advice(fintech());
    let solved = advice.prompt_length.unwrap();
    // 4,200 = 3 million × (L × 0.40 + 40) / 1 million
    assert_eq!(solved.today_tokens, Range::exact(dec!(3400)));
    // A bill of 3,000 + 139.67 … 3,000 + 2,252
    let length = |bill: f64, price: f64, answers: f64| (bill / 3.0 - answers) / price;
    let ends = |place: usize| {
        let tokens = solved.thresholds[place].tokens;
        (tokens.low.round_dp(3), tokens.high.round_dp(3))
    };
    let expected = |price: f64, answers: f64| {
        let end = |bill: f64| Decimal::try_from(length(bill, price, answers)).unwrap().round_dp(3);
        (end(3_139.666_666_667), end(5_252.0))
    };
    assert_eq!(ends(0), expected(0.40, 40.0));
    // 0.2 × 0.40 + 0.8 × 0.10; then half of everything; then both
    assert_eq!(ends(1), expected(0.16, 40.0));
    assert_eq!(ends(2), expected(0.20, 20.0));
    assert_eq!(ends(3), expected(0.08, 20.0));
    assert_eq!(solved.today, Holds::Perhaps);
    let holds = |tokens: Decimal| solved.lengths.iter().find(|length| length.tokens == tokens).unwrap().holds;
    assert_eq!([dec!(2000), dec!(3400), dec!(6000)].map(holds), [Holds::No, Holds::Perhaps, Holds::Yes]);
    assert!(solved.lengths.iter().any(|length| length.is_today && length.tokens == dec!(3400)));
    assert!(solved.says.contains("does not hold"), "{}", solved.says);
}

#[test]
fn other_numbers_bring_another_verdict() {
    let code = |change: fn(&mut Scenario)| {
        let advice = with(change);
        (advice.verdict.code, advice.verdict.stopped_at)
    };
    assert_eq!(code(|s| s.labels = Some(200)), (Code::LabelFirst, Some(Question::Labels)));
    assert_eq!(code(|s| s.transactions_per_month = Some(5_000)), (Code::StayWithPrompts, Some(Question::Volume)));
    assert_eq!(
        code(|s| s.answers.private_or_current_data = Some(Reply { answer: true, because: None })),
        (Code::RetrievalFirst, Some(Question::Data))
    );
    assert_eq!(code(|s| s.answers.consistent_behaviour = no("")), (Code::StayWithPrompts, Some(Question::Behaviour)));
    assert_eq!(code(|s| s.answers.maintainable = no("nobody")), (Code::StayWithPrompts, Some(Question::Upkeep)));
    assert_eq!(code(|s| s.target = Some(0.85.try_into().unwrap())), (Code::Prompt, Some(Question::Prompting)));
    assert_eq!(code(|s| s.target = Some(0.80.try_into().unwrap())), (Code::Keep, None));
    assert_eq!(
        code(|s| on(s, "lora", |o| o.one_off = Some(Range::exact(dec!(900_000))))),
        (Code::StayWithPrompts, None)
    );
    assert_eq!(
        code(|s| on(s, "lora", |o| o.per_month = Some(Range::exact(dec!(50_000))))),
        (Code::StayWithPrompts, None)
    );
    assert_eq!(code(|s| on(s, "prompt", |o| o.weeks = Some(Range::exact(dec!(9))))), (Code::FineTune, None));
    assert_eq!(code(|s| s.options.retain(|option| option.name != "prompt")), (Code::FineTune, None));
    assert_eq!(code(|s| s.options.retain(|option| option.name != "lora")), (Code::Undecided, None));
    assert_eq!(code(|s| s.answers.maintainable = None), (Code::Undecided, Some(Question::Upkeep)));
    assert_eq!(code(|s| s.transactions_per_month = None), (Code::Undecided, Some(Question::Volume)));
}

#[test]
fn a_prompt_that_costs_more_than_its_errors_is_no_first_step() {
    let dear = with(|scenario| {
        on(scenario, "prompt", |prompt| prompt.tokens.as_mut().unwrap().prompt = Some(Range::exact(dec!(40_000))));
    });
    assert_eq!(dear.verdict.code, Code::FineTune, "{}", dear.verdict.says);
    assert_eq!(option(&dear, "prompt").finding, Finding::CostProblem);
}

#[test]
fn a_prompt_is_held_to_the_horizon_as_fine_tuning_is() {
    let dear = with(|scenario| {
        let today = scenario.today.as_mut().unwrap();
        today.bill.as_mut().unwrap().amount = Range::exact(dec!(1700));
        today.tokens = None;
    });
    let payback = option(&dear, "prompt").payback_with_errors.unwrap();
    assert!(payback.best.unwrap() > 12.0 && payback.likely.is_none(), "{payback:?}");
    assert!(dear.verdict.steps.iter().all(|step| step.option.as_deref() != Some("prompt")), "{:?}", dear.verdict);
    // 2,550 come back in 1.4 months: in one they don't.
    assert_eq!(with(|scenario| scenario.horizon_months = Some(1)).verdict.code, Code::FineTune);
    assert_eq!(with(|scenario| scenario.horizon_months = Some(2)).verdict.code, Code::PromptThenFineTune);
}

/// A deployment whose adapter answers, measured on a file.
fn adapted(data: &str, chosen_on: bool, right: u32) -> Scenario {
    let mut scenario = fintech();
    scenario.options.retain(|option| option.name == "prompt");
    scenario.options[0].accuracy = Accuracy::Claimed { share: 0.527.try_into().unwrap(), source: "x".to_owned() };
    let today = scenario.today.as_mut().unwrap();
    (today.name, today.lever) = ("adapter".to_owned(), super::setup::Lever::FineTune);
    today.guide = Some("local_adapter".to_owned());
    today.training_hours = Some(Range::exact(dec!(0.0636)));
    let (data, engine) = (data.to_owned(), "adapter:a@1".to_owned());
    today.accuracy = Accuracy::Measured { right, rows: 4_000, data, engine, chosen_on };
    scenario
}

#[test]
fn an_adapter_below_its_target_is_labelled_for_and_trained_again() {
    let below = advice(adapted("shops/test", false, 3_400));
    assert_eq!(below.verdict.code, Code::LabelAndRetrain, "{}", below.verdict.says);
    let steps: Vec<&str> = below.verdict.steps.iter().map(|step| step.says.as_str()).collect();
    assert!(steps[0].contains("`txcat data select`") && steps[1].contains("`txcat adapters retrain`"), "{steps:?}");
    // Every time 0.1 – 0.5 weeks of 2,000 – 3,000.
    assert!(steps[1].contains("200 – 1,500 USD each time, of which 0.0636 hours of a machine"), "{steps:?}");
    let mut unpriced = adapted("shops/test", false, 3_400);
    let today = unpriced.today.as_mut().unwrap();
    (today.bill, today.tokens) = (None, None);
    assert_eq!(advice(unpriced).verdict.code, Code::LabelAndRetrain, "what today costs is not needed for it");
    let best = below.sensitivity.iter().find(|change| change.what.starts_with("the accuracy of")).unwrap();
    assert_eq!((best.what.as_str(), best.then), ("the accuracy of `adapter`", Some(Code::Keep)));
}

#[test]
fn rows_that_chose_the_adapter_keep_nothing() {
    assert_eq!(advice(adapted("shops/test", false, 3_900)).verdict.code, Code::Keep);
    let on_dev = advice(adapted("shops/dev", true, 3_900));
    assert_eq!(on_dev.verdict.code, Code::Undecided);
    let says = &on_dev.verdict.says;
    assert!(says.contains("--files test") && !says.contains("surely"), "{says}");
    assert!(on_dev.asked.iter().any(|ask| ask.flag.contains("txcat adapters evaluate")), "{:?}", on_dev.asked);
    assert_eq!(on_dev.today.unwrap().reaches_target, Some(false));
    // A prompt that was chosen on these rows answers no question either.
    let mut scenario = fintech();
    let (data, engine) = ("shops/dev".to_owned(), "prompt:m:p@1".to_owned());
    let accuracy = Accuracy::Measured { right: 3_900, rows: 4_000, data, engine, chosen_on: true };
    on(&mut scenario, "prompt", |option| option.accuracy = accuracy);
    let asked = advice(scenario);
    assert_eq!((asked.verdict.code, asked.verdict.stopped_at), (Code::Undecided, Some(Question::Prompting)));
}

#[test]
fn what_would_change_the_decision_is_said_with_its_number() {
    let advice = advice(fintech());
    let change = |what: &str| {
        let change = advice.sensitivity.iter().find(|change| change.what.starts_with(what)).unwrap();
        (change.changes_at.as_deref(), change.then)
    };
    assert_eq!(change("good labels"), (Some("499 or fewer"), Some(Code::LabelFirst)));
    assert_eq!(change("the accuracy that is wanted"), (Some("87 % or less"), Some(Code::Prompt)));
    assert_eq!(change("the accuracy of `prompt`"), (Some("92 % or more"), Some(Code::Prompt)));
    assert_eq!(change("the accuracy of `lora`"), (Some("87 % or less"), Some(Code::StayWithPrompts)));
    assert_eq!(change("it needs current or private data"), (Some("yes"), Some(Code::RetrievalFirst)));
    // A prompt for 2,550 once that adds 360 a month and avoids 150,000 errors comes back within 12 months while one costs 0.0038.
    assert_eq!(change("what an error costs"), (Some("about 0.0025 – 0.005 or less"), Some(Code::FineTune)));
    // 6,000 in steps of 60: 66,470 changes it, 66,420 does not.
    assert_eq!(change("what `lora` costs once"), (Some("about 66,500 or more"), Some(Code::StayWithPrompts)));
    let (at, then) = change("transactions a month");
    let least: u64 = at.unwrap().strip_suffix(" or fewer").unwrap().replace(',', "").parse().unwrap();
    let at_volume = |volume| with(|scenario| scenario.transactions_per_month = Some(volume)).verdict.code;
    assert_eq!((Some(at_volume(least)), at_volume(least + 1)), (then, Code::PromptThenFineTune));
}

#[test]
fn a_scenario_that_contradicts_itself_is_refused_by_name() {
    let refused = |change: fn(&mut Scenario)| {
        let mut scenario = fintech();
        change(&mut scenario);
        let day = "2026-11-25".parse().unwrap();
        advise(scenario, &Known::default(), &Costs::compiled_in().unwrap(), day).unwrap_err()
    };
    assert!(matches!(refused(|s| on(s, "lora", |o| o.name = "prompt".to_owned())), Error::SameName { .. }));
    assert!(matches!(refused(|s| on(s, "lora", |o| o.guide = Some("magic".to_owned()))), Error::UnknownGuide { .. }));
    assert!(matches!(refused(|s| s.currency = Some("EUR".parse().unwrap())), Error::OtherCurrency { .. }));
    assert!(matches!(refused(|s| s.transactions_per_month = Some(u64::MAX)), Error::TooMany { .. }));
    assert!(matches!(refused(|s| s.horizon_months = Some(0)), Error::NoMonths));
    assert!(matches!(
        refused(|s| s.today.as_mut().unwrap().bill.as_mut().unwrap().transactions = 0),
        Error::EmptyBill { .. }
    ));
}

#[test]
fn an_empty_scenario_asks_for_everything() {
    let advice = advice(Scenario::default());
    assert_eq!(advice.verdict.code, Code::Undecided);
    assert!(advice.questions.iter().all(|given| given.answer == Said::Unknown));
    assert_eq!(advice.asked.len(), 7, "six questions and what answers today: {:?}", advice.asked);
}

/// Months, with never behind all of them.
fn or_never(months: Option<f64>) -> f64 {
    months.unwrap_or(f64::INFINITY)
}

/// The scenario with numbers of any size; today is billed by the transaction.
fn any_scenario() -> impl Strategy<Value = Scenario> {
    let money = |most: u32| {
        (0..most, 0..most).prop_map(|(a, b)| Range::new(Decimal::from(a.min(b)), Decimal::from(a.max(b))).unwrap())
    };
    let shares = (500_u32..1_000, 500_u32..1_000, 500_u32..1_000, 500_u32..1_000);
    let counts = (1_u64..50_000_000, 0_u64..20_000);
    let costs = (money(40_000), money(20), money(2_000), 1_u32..100_000, 1_u32..20_000, money(10));
    (shares, counts, costs, any::<[bool; 4]>()).prop_map(|(shares, counts, costs, flags)| {
        let mut scenario = fintech();
        let share = |thousandths: u32| (f64::from(thousandths) / 1_000.0).try_into().unwrap();
        let claimed = |thousandths| Accuracy::Claimed { share: share(thousandths), source: String::new() };
        (scenario.transactions_per_month, scenario.labels) = (Some(counts.0), Some(counts.1));
        scenario.target = Some(share(shares.0));
        let (one_off, per_hour, per_month, bill, prompt, premium) = costs;
        let today = scenario.today.as_mut().unwrap();
        today.accuracy = claimed(shares.1);
        today.bill.as_mut().unwrap().amount = Range::exact(Decimal::from(bill));
        on(&mut scenario, "prompt", |option| {
            option.accuracy = claimed(shares.2);
            option.tokens.as_mut().unwrap().prompt = Some(Range::exact(Decimal::from(prompt)));
        });
        let tokens = scenario.today.as_ref().unwrap().tokens;
        on(&mut scenario, "lora", |option| {
            option.accuracy = claimed(shares.3);
            option.one_off = Some(one_off);
            option.per_month = Some(per_month);
            option.machines.as_mut().unwrap().price_per_hour = Some(per_hour);
            if flags[0] {
                // Served by a provider instead: a shorter prompt at a dearer price.
                option.machines = None;
                option.tokens = tokens;
                let tokens = option.tokens.as_mut().unwrap();
                tokens.prompt = Some(Range::exact(dec!(200)));
                tokens.price.premium = Some(premium);
            }
        });
        if flags[1] {
            scenario.errors = None;
        }
        // One that must first bring back an outlay is worth it from a volume on, and then fine-tuning gains less beside it.
        on(&mut scenario, "prompt", |option| option.one_off = Some(Range::ZERO));
        scenario
    })
}

proptest! {
    #[test]
    fn more_volume_never_makes_fine_tuning_less_worth_it(scenario in any_scenario(), more in 1_u64..100_000_000) {
        let mut larger = scenario.clone();
        larger.transactions_per_month = scenario.transactions_per_month.map(|volume| volume + more);
        let ((small, before), (large, after)) = (decided(scenario), decided(larger));
        prop_assert!(!small.fine_tunes() || large.fine_tunes(), "{small:?} {large:?}");
        let (small, large) = (found(&before, "lora").payback.unwrap(), found(&after, "lora").payback.unwrap());
        for (small, large) in [(small.best, large.best), (small.likely, large.likely), (small.worst, large.worst)] {
            prop_assert!(or_never(large) <= or_never(small) * (1.0 + 1e-9), "{small:?} {large:?}");
        }
    }

    #[test]
    fn more_labels_never_make_fine_tuning_less_advisable(scenario in any_scenario(), more in 1_u64..1_000_000) {
        let mut larger = scenario.clone();
        larger.labels = scenario.labels.map(|labels| labels + more);
        let (small, large) = (decided(scenario).0, decided(larger).0);
        prop_assert!(!small.fine_tunes() || large.fine_tunes(), "{small:?} {large:?}");
    }

    #[test]
    fn a_dearer_model_never_looks_cheaper(scenario in any_scenario(), more in 1_u32..1_000_000) {
        let mut dearer = scenario.clone();
        on(&mut dearer, "model_switch", |option| {
            let bill = option.bill.as_mut().unwrap();
            bill.amount = bill.amount.plus(Range::exact(Decimal::from(more)));
        });
        let (plain, dear) = (decided(scenario).1, decided(dearer).1);
        let (plain, dear) = (found(&plain, "model_switch"), found(&dear, "model_switch"));
        prop_assert!(dear.per_month.unwrap().low > plain.per_month.unwrap().low);
        prop_assert!(dear.saving_per_month.unwrap().high < plain.saving_per_month.unwrap().high);
        prop_assert!(dear.extra_over_horizon.unwrap().low > plain.extra_over_horizon.unwrap().low);
        if let (Some(plain), Some(dear)) = (plain.cost_per_point, dear.cost_per_point) {
            prop_assert!(dear.low >= plain.low && dear.high >= plain.high);
        }
        prop_assert!(or_never(dear.payback.unwrap().likely) >= or_never(plain.payback.unwrap().likely));
        prop_assert!(plain.finding != Finding::CostProblem || dear.finding == Finding::CostProblem);
    }

    #[test]
    fn a_dearer_way_to_fine_tune_is_never_told_where_a_cheaper_one_is_not(
        scenario in any_scenario(),
        more in 1_u32..100_000,
    ) {
        let mut dearer = scenario.clone();
        on(&mut dearer, "lora", |option| {
            option.one_off = option.one_off.map(|once| once.plus(Range::exact(Decimal::from(more))));
        });
        let (plain, dear) = (decided(scenario).0, decided(dearer).0);
        prop_assert!(plain.fine_tunes() || !dear.fine_tunes(), "{plain:?} {dear:?}");
    }

    #[test]
    fn a_longer_prompt_never_makes_the_claim_fail(scenario in any_scenario()) {
        let guide = Costs::compiled_in().unwrap().on("2026-11-25".parse().unwrap()).unwrap();
        let case = Known::default().fill(scenario);
        let solved = super::prompt_length::solve(&case, &guide, &decide::decide(&case, &guide)).unwrap();
        let place = |holds: Holds| [Holds::No, Holds::Perhaps, Holds::Yes].iter().position(|one| *one == holds);
        let places: Vec<_> = solved.lengths.iter().map(|length| place(length.holds)).collect();
        prop_assert!(places.is_sorted(), "{places:?}");
        let first = solved.thresholds[0].tokens;
        for length in &solved.lengths {
            prop_assert!(length.tokens <= first.high || length.holds == Holds::Yes, "{length:?} {first:?}");
            prop_assert!(length.tokens >= first.low || length.holds == Holds::No, "{length:?} {first:?}");
        }
    }
}
