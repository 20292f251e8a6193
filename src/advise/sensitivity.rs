//! What would change the decision: each number moved until the verdict is another, everything else as it is, and each
//! answer turned round.
//!
//! The verdict is asked again each time, so that nothing here knows how it comes about.

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accuracy::{Accuracy, Share},
    costs::Guide,
    decide::{Decision, decide},
    economics::first,
    evidence::Case,
    options,
    range::Range,
    scenario::{ErrorCosts, Reply, Scenario},
    setup::{Bill, Lever, Setup},
    verdict::Code,
    words::{amount, amounts, count, percent},
};
use crate::domain::Currency;

/// Steps from one to nothing; of a share, each is a tenth of a point.
const STEPS: u64 = 1_000;
/// Per cent that an amount is raised by at most.
const MOST_PER_CENT: u64 = 100_000;

/// One thing that would change the decision, or would not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceChange)]
pub struct Change {
    /// What is moved.
    pub what: String,
    /// What it is now.
    pub now: String,
    /// From where on the decision is another; `null` where moving it changes nothing.
    pub changes_at: Option<String>,
    /// What is decided then.
    pub then: Option<Code>,
}

/// Moves everything that there is.
pub(super) fn changes(case: &Case, guide: &Guide, decision: &Decision) -> Vec<Change> {
    let code = decision.verdict.code;
    if code == Code::Undecided {
        return Vec::new();
    }
    let currency = guide.currency_of(&case.scenario);
    let planned = |setup: &&Setup| {
        setup.lever == Lever::FineTune
            && decision.verdict.steps.iter().any(|step| step.option.as_deref() == Some(&setup.name))
    };
    let any = || case.scenario.options.iter().find(|setup| setup.lever == Lever::FineTune);
    let fine = case.scenario.options.iter().find(planned).or_else(any);
    let bench = Bench { case, guide, code, currency };
    let mut all = vec![bench.volume(), bench.labels(), bench.target()];
    all.extend([bench.today_bill(), bench.errors()]);
    all.push(bench.best_so_far());
    if let Some(fine) = fine {
        all.extend([bench.accuracy_of(fine), bench.one_off_of(fine), bench.month_of(fine)]);
    }
    all.push(Some(bench.horizon()));
    let answers = &case.scenario.answers;
    all.push(bench.turned(
        "it needs current or private data",
        answers.private_or_current_data.as_ref(),
        |case, reply| {
            case.scenario.answers.private_or_current_data = reply;
        },
    ));
    all.push(bench.turned(
        "consistent behavioural change is needed",
        answers.consistent_behaviour.as_ref(),
        |case, reply| {
            case.scenario.answers.consistent_behaviour = reply;
        },
    ));
    all.push(bench.turned("you can maintain it", answers.maintainable.as_ref(), |case, reply| {
        case.scenario.answers.maintainable = reply;
    }));
    all.into_iter().flatten().collect()
}

struct Bench<'a> {
    case: &'a Case,
    guide: &'a Guide,
    code: Code,
    currency: Currency,
}

impl Bench<'_> {
    fn with(&self, change: impl FnOnce(&mut Case)) -> Case {
        let mut case = self.case.clone();
        change(&mut case);
        case
    }

    fn code_of(&self, case: &Case) -> Code {
        decide(case, self.guide).verdict.code
    }

    /// The first of `steps` steps after which the verdict is another, and which.
    fn search(&self, steps: u64, at: impl Fn(u64) -> Case) -> Option<(u64, Code)> {
        let step = first(1, steps, |step| self.code_of(&at(step)) != self.code)?;
        Some((step, self.code_of(&at(step))))
    }

    fn change(&self, what: String, now: String, found: Option<(String, Code)>) -> Change {
        let (changes_at, then) = found.unzip();
        Change { what, now, changes_at, then }
    }

    fn volume(&self) -> Option<Change> {
        let now = self.case.volume.as_ref()?.value;
        let found = self
            .search(now, |less| self.with(|case| case.volume.iter_mut().for_each(|volume| volume.value = now - less)));
        let found = found.map(|(less, then)| (format!("{} or fewer", count(now - less)), then));
        Some(self.change("transactions a month".to_owned(), count(now), found))
    }

    fn labels(&self) -> Option<Change> {
        let now = self.case.labels.as_ref()?.value;
        let fewer = |less: u64| self.with(|case| case.labels.iter_mut().for_each(|labels| labels.value = now - less));
        let more = |more: u64| self.with(|case| case.labels.iter_mut().for_each(|labels| labels.value = now + more));
        let fewer = self.search(now, fewer).map(|(less, then)| (format!("{} or fewer", count(now - less)), then));
        let more =
            || self.search(MOST_PER_CENT, more).map(|(step, then)| (format!("{} or more", count(now + step)), then));
        Some(self.change("good labels".to_owned(), count(now), fewer.or_else(more)))
    }

    fn target(&self) -> Option<Change> {
        let now = self.case.target.as_ref()?.value;
        let found = self.search(STEPS, |step| {
            self.with(|case| case.target.iter_mut().for_each(|target| target.value = lower(now, step)))
        });
        let found = found.map(|(step, then)| (format!("{} or less", percent(lower(now, step).get())), then));
        Some(self.change("the accuracy that is wanted".to_owned(), percent(now.get()), found))
    }

    /// The most accurate of what answers today and of the prompts.
    fn best_so_far(&self) -> Option<Change> {
        let prompts = self.case.scenario.options.iter().filter(|setup| setup.lever == Lever::Prompt);
        let both = prompts.chain(&self.case.scenario.today);
        let best = both.max_by(|a, b| a.accuracy.share().get().total_cmp(&b.accuracy.share().get()))?;
        let now = best.accuracy.share();
        let found = self.search(STEPS, |step| self.with_accuracy(&best.name, higher(now, step)));
        let found = found.map(|(step, then)| (format!("{} or more", percent(higher(now, step).get())), then));
        Some(self.change(format!("the accuracy of `{}`", best.name), percent(now.get()), found))
    }

    fn accuracy_of(&self, fine: &Setup) -> Option<Change> {
        let now = fine.accuracy.share();
        let found = self.search(STEPS, |step| self.with_accuracy(&fine.name, lower(now, step)));
        let found = found.map(|(step, then)| (format!("{} or less", percent(lower(now, step).get())), then));
        Some(self.change(format!("the accuracy of `{}`", fine.name), percent(now.get()), found))
    }

    fn with_accuracy(&self, name: &str, share: Share) -> Case {
        self.with(|case| {
            let Scenario { today, options, .. } = &mut case.scenario;
            for setup in today.iter_mut().chain(options).filter(|setup| setup.name == name) {
                setup.accuracy = Accuracy::Estimated { share, source: "supposed".to_owned() };
            }
        })
    }

    fn on_option(&self, name: &str, change: impl Fn(&mut Setup)) -> Case {
        self.with(|case| case.scenario.options.iter_mut().filter(|setup| setup.name == name).for_each(change))
    }

    fn one_off_of(&self, fine: &Setup) -> Option<Change> {
        let now = options::one_off(fine, &self.case.scenario, self.guide).ok()?;
        let found = self
            .search(MOST_PER_CENT, |step| self.on_option(&fine.name, |setup| setup.one_off = Some(raised(now, step))));
        let width = now.middle() / Decimal::ONE_HUNDRED;
        let found = found.map(|(step, then)| (or_more(raised(now, step).middle(), width), then));
        Some(self.change(format!("what `{}` costs once, {}", fine.name, self.currency), amounts(now), found))
    }

    /// What fine-tuning costs a month, raised by per cents of what today costs: its own may be next to nothing.
    fn month_of(&self, fine: &Setup) -> Option<Change> {
        let volume = self.case.volume.as_ref()?.value;
        let place = self.case.scenario.options.iter().position(|setup| setup.name == fine.name)?;
        let decision = decide(self.case, self.guide);
        let (today, now) = (decision.today?.month(volume), decision.options.get(place)?.as_ref()?.month(volume));
        let extra = |step: u64| Range::exact(today.middle()).times(Decimal::from(step) / Decimal::ONE_HUNDRED);
        let base = fine.per_month.or_else(|| options::row(fine, self.guide)?.per_month).unwrap_or(Range::ZERO);
        let found = self.search(MOST_PER_CENT, |step| {
            self.on_option(&fine.name, |setup| setup.per_month = Some(base.plus(extra(step))))
        });
        let found = found.map(|(step, then)| (or_more(now.plus(extra(step)).middle(), extra(1).middle()), then));
        Some(self.change(format!("what `{}` costs a month, {}", fine.name, self.currency), amounts(now), found))
    }

    fn today_bill(&self) -> Option<Change> {
        let volume = self.case.volume.as_ref()?.value;
        let now = decide(self.case, self.guide).today?.month(volume);
        let found = self.search(STEPS, |step| {
            self.with(|case| case.scenario.today.iter_mut().for_each(|today| scale(today, left(step))))
        });
        let found = found.map(|(step, then)| (or_less(now, step), then));
        Some(self.change(format!("what today costs a month, {}", self.currency), amounts(now), found))
    }

    fn errors(&self) -> Option<Change> {
        let errors = self.case.scenario.errors.as_ref()?;
        let found =
            self.search(STEPS, |step| self.with(|case| case.scenario.errors = Some(cheaper(errors, left(step)))));
        let found = found.map(|(step, then)| (or_less(errors.each(), step), then));
        Some(self.change(format!("what an error costs, {}", self.currency), amounts(errors.each()), found))
    }

    fn horizon(&self) -> Change {
        let now = self.case.scenario.horizon();
        let shorter = |step: u64| now.saturating_sub(u32::try_from(step).unwrap_or(now)).max(1);
        let found = self
            .search(u64::from(now - 1), |step| self.with(|case| case.scenario.horizon_months = Some(shorter(step))));
        let found = found.map(|(step, then)| (format!("{} or fewer", shorter(step)), then));
        self.change("months within which an outlay must come back".to_owned(), now.to_string(), found)
    }

    fn turned(&self, what: &str, reply: Option<&Reply>, set: impl Fn(&mut Case, Option<Reply>)) -> Option<Change> {
        let now = reply?.answer;
        let words = |answer: bool| if answer { "yes" } else { "no" }.to_owned();
        let then = self.code_of(&self.with(|case| set(case, Some(Reply { answer: !now, because: None }))));
        let found = (then != self.code).then(|| (words(!now), then));
        Some(self.change(what.to_owned(), words(now), found))
    }
}

/// Where an amount that was raised in steps of a width changes the decision.
fn or_more(found: Decimal, width: Decimal) -> String {
    let unit = unit(width);
    format!("about {} or more", amount((found / unit).ceil() * unit))
}

/// Where an amount that was lowered by so many steps changes the decision.
fn or_less(now: Range, steps: u64) -> String {
    let end = |now: Decimal| {
        let (found, unit) = (now * left(steps), unit(now / Decimal::from(STEPS)));
        let floor = (found / unit).floor() * unit;
        if floor.is_zero() { found } else { floor }
    };
    format!("about {} or less", amounts(Range { low: end(now.low), high: end(now.high) }))
}

/// The least power of ten that is no finer than a step: what is found in steps is known to no more.
fn unit(width: Decimal) -> Decimal {
    let mut unit = Decimal::new(1, 6);
    while unit < width {
        unit *= Decimal::TEN;
    }
    unit
}

fn lower(share: Share, steps: u64) -> Share {
    share.moved(-tenths(steps))
}

fn higher(share: Share, steps: u64) -> Share {
    share.moved(tenths(steps))
}

/// Tenths of a point, as a share.
fn tenths(steps: u64) -> f64 {
    steps as f64 / STEPS as f64
}

/// What is left after so many steps down to nothing.
fn left(steps: u64) -> Decimal {
    Decimal::from(STEPS.saturating_sub(steps)) / Decimal::from(STEPS)
}

/// Errors that cost so many times as much.
fn cheaper(errors: &ErrorCosts, by: Decimal) -> ErrorCosts {
    ErrorCosts {
        contact_cost: errors.contact_cost.map(|cost| cost.times(by)),
        wage_per_hour: errors.wage_per_hour.map(|wage| wage.times(by)),
        ..errors.clone()
    }
}

/// So many per cent more.
fn raised(range: Range, per_cent: u64) -> Range {
    range.times(Decimal::ONE + Decimal::from(per_cent) / Decimal::ONE_HUNDRED)
}

/// Makes what a setup is billed for so many times as much.
fn scale(setup: &mut Setup, by: Decimal) {
    if let Some(Bill { amount, .. }) = &mut setup.bill {
        *amount = amount.times(by);
    }
    if let Some(tokens) = &mut setup.tokens {
        tokens.prompt = tokens.prompt.map(|prompt| prompt.times(by));
        tokens.answer = tokens.answer.times(by);
    }
    if let Some(machines) = &mut setup.machines {
        machines.price_per_hour = machines.price_per_hour.map(|price| price.times(by));
    }
    setup.per_month = setup.per_month.map(|month| month.times(by));
}
