//! What an option costs to have and to run, from what is stated, else the guide: bills, tokens, machines, upkeep.
//!
//! Sums of one option by itself; what it is worth beside today is [`economics`](super::economics).

use rust_decimal::Decimal;

use super::{
    accuracy::Share,
    costs::{Guide, LeverCost},
    questions::Ask,
    range::{Range, times},
    scenario::Scenario,
    setup::{Lever, Machines, Setup, Tokens},
};

/// Hours of a month.
const HOURS: Decimal = Decimal::from_parts(730, 0, 0, false, 0);
/// Prices are of so many tokens.
pub(super) const MILLION: Range = Range::exact(Decimal::from_parts(1_000_000, 0, 0, false, 0));
const SECONDS: Range = Range::exact(Decimal::from_parts(3_600, 0, 0, false, 0));

/// What it costs to answer: a part for each transaction, a part for the month, and machines, which answer up to what
/// they can for the same money.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Running {
    each: Range,
    month: Range,
    machines: Option<Hours>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Hours {
    /// Of one transaction, the busiest hour provided for.
    each: Range,
    /// Kept running whatever comes.
    at_least: Range,
    price: Range,
}

impl Running {
    /// A month of so many transactions.
    pub(super) fn month(&self, volume: u64) -> Range {
        let volume = Decimal::from(volume);
        let machines = self.machines.map_or(Range::ZERO, |machines| {
            let needed = machines.each.times(volume);
            let kept = machines.at_least.times(HOURS);
            let hours = Range { low: needed.low.max(kept.low), high: needed.high.max(kept.high) };
            hours.by(machines.price)
        });
        self.each.times(volume).plus(self.month).plus(machines)
    }
}

/// What is not known of an option's costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// What an hour of its machines costs.
    MachinePrice,
    /// What it costs to run.
    Running,
    /// What it costs once.
    OneOff,
}

impl Missing {
    pub(super) fn ask(self, name: &str) -> Ask {
        let (what, flag, member) = match self {
            Self::MachinePrice => ("What does an hour of its machine cost?", "--machine-per-hour", "/machine_per_hour"),
            Self::Running => {
                ("What does it cost to run: a bill, tokens, machines or an amount a month?", "--scenario", "/option")
            }
            Self::OneOff => ("What does it cost once?", "--scenario", "/option"),
        };
        Ask { what: format!("`{name}`: {what}"), flag, member }
    }
}

/// One transaction at these tokens.
pub(super) fn tokens_each(tokens: &Tokens, prompt: Range) -> Range {
    prompt.by(prompt_price(tokens)).plus(answer_price(tokens)).over(MILLION)
}

/// A million tokens of the prompt, with what is kept, what waits and what is tuned.
pub(super) fn prompt_price(tokens: &Tokens) -> Range {
    let price = &tokens.price;
    let kept = tokens.cached_share.decimal();
    let cached = price.cached.unwrap_or(price.prompt);
    price.prompt.times(Decimal::ONE - kept).plus(cached.times(kept)).by(factor(tokens))
}

/// The answers of a million transactions.
pub(super) fn answer_price(tokens: &Tokens) -> Range {
    tokens.answer.by(tokens.price.completion).by(factor(tokens))
}

/// What batches leave of a price, and a tuned model adds to it.
fn factor(tokens: &Tokens) -> Range {
    let batched = tokens.batch_share.decimal();
    let batch = tokens.price.batch.map_or(Decimal::ONE, Share::decimal);
    tokens.price.premium.unwrap_or(Range::ONE).times(Decimal::ONE - batched + times(batched, batch))
}

fn hours(machines: &Machines, price: Range) -> Hours {
    Hours {
        each: machines.peak.unwrap_or(Range::ONE).over(machines.rows_per_s.by(SECONDS)),
        at_least: machines.at_least.unwrap_or(Range::ONE),
        price,
    }
}

/// What an option costs to run, without what keeps it right.
pub(super) fn running(
    setup: &Setup,
    scenario: &Scenario,
    guide: &Guide,
    today: Option<&Running>,
) -> Result<Running, Missing> {
    let row = row(setup, guide);
    let sent = match (setup.bill, setup.tokens) {
        (Some(bill), _) => Some(bill.amount.over(Range::exact(Decimal::from(bill.transactions)))),
        (None, Some(tokens)) => tokens.prompt.map(|prompt| tokens_each(&tokens, prompt)),
        (None, None) => None,
    };
    let machines = match &setup.machines {
        Some(machines) => {
            let price = machines.price_per_hour.or(scenario.machine_per_hour).ok_or(Missing::MachinePrice)?;
            Some(hours(machines, price))
        }
        None => None,
    };
    let month = setup.per_month.or_else(|| row?.per_month);
    if sent.is_some() || machines.is_some() {
        return Ok(Running { each: sent.unwrap_or(Range::ZERO), month: month.unwrap_or(Range::ZERO), machines });
    }
    let base = today.filter(|_| matches!(setup.lever, Lever::Prompt | Lever::Retrieval)).copied();
    match (base, month) {
        (Some(base), month) => Ok(Running { month: base.month.plus(month.unwrap_or(Range::ZERO)), ..base }),
        (None, Some(month)) => Ok(Running { each: Range::ZERO, month, machines: None }),
        (None, None) => Err(Missing::Running),
    }
}

/// What an option costs once.
pub(super) fn one_off(setup: &Setup, scenario: &Scenario, guide: &Guide) -> Result<Range, Missing> {
    if let Some(stated) = setup.one_off {
        return Ok(stated);
    }
    let row = row(setup, guide).ok_or(Missing::OneOff)?;
    let trained = setup.training.map_or(Range::ZERO, |training| {
        let tokens = [training.examples, training.tokens, training.epochs].map(Decimal::from).into_iter();
        let tokens = Range::exact(tokens.fold(Decimal::ONE, times));
        tokens.by(row.training.unwrap_or(Range::ZERO)).over(MILLION)
    });
    let weeks = setup.weeks.or(row.weeks).unwrap_or(Range::ZERO);
    let people = row.engineering.unwrap_or_else(|| weeks.by(guide.engineering.week));
    let compute = own_training(setup, scenario).or(row.compute).unwrap_or(Range::ZERO);
    Ok(compute.plus(people).plus(trained))
}

/// What training on a machine of one's own costs, where its hours and their price are known.
pub(super) fn own_training(setup: &Setup, scenario: &Scenario) -> Option<Range> {
    let price = setup.machines.and_then(|machines| machines.price_per_hour).or(scenario.machine_per_hour)?;
    Some(setup.training_hours?.by(price))
}

/// How long until it answers.
pub(super) fn weeks(setup: &Setup, guide: &Guide) -> Option<Range> {
    setup.weeks.or_else(|| row(setup, guide)?.weeks)
}

/// How often it is trained again, and what that comes to a month; nothing where nothing was trained.
pub(super) fn upkeep(setup: &Setup, guide: &Guide) -> Option<(u32, Range)> {
    if setup.lever != Lever::FineTune {
        return None;
    }
    let usual = || guide.retraining.weeks.by(guide.engineering.week);
    let every = setup.retraining.map_or(guide.retraining.every_months, |care| care.every_months);
    let cost = setup.retraining.and_then(|care| care.cost).unwrap_or_else(usual);
    Some((every, cost.over(Range::exact(Decimal::from(every)))))
}

/// The guide's row that an option names.
pub(super) fn row<'a>(setup: &Setup, guide: &'a Guide) -> Option<&'a LeverCost> {
    guide.lever(setup.guide.as_deref()?)
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;
    use crate::advise::{costs::Costs, setup::TokenPrice};

    fn tokens() -> Tokens {
        let price = TokenPrice {
            prompt: Range::exact(dec!(0.40)),
            cached: Some(Range::exact(dec!(0.10))),
            completion: Range::exact(dec!(1.60)),
            batch: Some(0.5.try_into().unwrap()),
            premium: None,
        };
        Tokens {
            prompt: Some(Range::exact(dec!(3400))),
            answer: Range::exact(dec!(25)),
            cached_share: 0.0.try_into().unwrap(),
            batch_share: 0.0.try_into().unwrap(),
            price,
        }
    }

    fn each(tokens: Tokens) -> Decimal {
        tokens_each(&tokens, tokens.prompt.unwrap()).low.normalize()
    }

    #[test]
    fn tokens_cost_what_a_hand_comes_to() {
        // 3,400 × 0.40 + 25 × 1.60 = 1,400 of a million
        assert_eq!(each(tokens()), dec!(0.0014));
        // 680 × 0.40 + 2,720 × 0.10 + 40 = 584
        let cached = Tokens { cached_share: 0.8.try_into().unwrap(), ..tokens() };
        assert_eq!(each(cached), dec!(0.000584));
        // half of it waits, and that half costs half
        let waits = Tokens { batch_share: 0.5.try_into().unwrap(), ..tokens() };
        assert_eq!(each(waits), dec!(0.00105));
        let tuned = TokenPrice { premium: Some(Range::exact(dec!(2))), ..tokens().price };
        let tuned = Tokens { prompt: Some(Range::exact(dec!(200))), price: tuned, ..tokens() };
        // 2 × (200 × 0.40 + 40)
        assert_eq!(each(tuned), dec!(0.00024));
    }

    fn running_of(text: &str) -> Running {
        let setup: Setup = toml::from_str(text).unwrap();
        let guide = Costs::compiled_in().unwrap().on("2026-11-25".parse().unwrap()).unwrap();
        running(&setup, &Scenario::default(), &guide, None).unwrap()
    }

    #[test]
    fn machines_cost_what_is_kept_running_until_more_are_needed() {
        let running = running_of(
            "name = 'a'
            lever = 'fine_tune'
            accuracy = { basis = 'claimed', share = 0.9, source = 'x' }
            machines = { rows_per_s = 10, price_per_hour = 2, at_least = 1, peak = 3 }",
        );
        // one machine: 730 h × 2; it answers 730 h × 36,000 / 3 = 8,760,000 rows at that peak
        assert_eq!(running.month(1), Range::exact(dec!(1460)));
        assert_eq!(running.month(8_760_000).low.round_dp(6), dec!(1460));
        assert_eq!(running.month(17_520_000).low.round_dp(6), dec!(2920));
    }

    #[test]
    fn what_is_left_out_is_the_guides() {
        let guide = Costs::compiled_in().unwrap().on("2026-11-25".parse().unwrap()).unwrap();
        let setup = |rest: &str| -> Setup {
            let text = format!(
                "name = 'a'
                lever = 'fine_tune'
                accuracy = {{ basis = 'claimed', share = 0.9, source = 'x' }}
                {rest}"
            );
            toml::from_str(&text).unwrap()
        };
        let range = |low: Decimal, high: Decimal| Range { low, high };
        let none = Scenario::default();
        assert_eq!(one_off(&setup("guide = 'lora_7b'"), &none, &guide), Ok(range(dec!(4500), dec!(15000))));
        assert_eq!(one_off(&setup("guide = 'full_7b'"), &none, &guide), Ok(range(dec!(18000), dec!(50000))));
        // 2,000 + 3 × 2,000 … 5,000 + 6 × 3,000
        assert_eq!(one_off(&setup("guide = 'lora_13b'"), &none, &guide), Ok(range(dec!(8000), dec!(23000))));
        // 12,000 examples × 400 tokens × 3 = 14.4 million, and 0.2 – 0.6 weeks
        let managed = setup("guide = 'managed'\ntraining = { examples = 12000, tokens = 400, epochs = 3 }");
        assert_eq!(one_off(&managed, &none, &guide), Ok(range(dec!(411.52), dec!(1843.20))));
        assert_eq!(one_off(&setup("one_off = 6000"), &none, &guide), Ok(Range::exact(dec!(6000))));
        assert_eq!(one_off(&setup(""), &none, &guide), Err(Missing::OneOff));
        // 500 + 2 × 1,000 … 3,000 + 4 × 1,000
        let paid = guide.clone().paid(Some(Range::exact(dec!(1000))));
        assert_eq!(one_off(&setup("guide = 'lora_7b'"), &none, &paid), Ok(range(dec!(2500), dec!(7000))));
        // half an hour of a machine at 0.10 – 1.20, and 0.4 × 2,000 … 2 × 3,000
        let own = setup("guide = 'local_adapter'\ntraining_hours = 0.5");
        let priced = Scenario { machine_per_hour: Some(range(dec!(0.10), dec!(1.20))), ..Scenario::default() };
        assert_eq!(one_off(&own, &priced, &guide), Ok(range(dec!(800.05), dec!(6000.60))));
        assert_eq!(one_off(&own, &none, &guide), Ok(range(dec!(800), dec!(6005))));
        // a tenth to a half of a week of 2,000 – 3,000, every 3 months
        let (every, month) = upkeep(&setup(""), &guide).unwrap();
        assert_eq!((every, month.low.round_dp(2), month.high), (3, dec!(66.67), dec!(500)));
    }
}
