//! What an option is worth beside what answers today: savings, payback, the price of a point, the cost of the errors
//! that remain, and the volume from which it pays.
//!
//! Sums alone: which option to take is [`verdict`](super::verdict).

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accuracy::{Rated, Share},
    costs::Guide,
    evidence::Case,
    findings::Finding,
    options::{self, Missing, Running},
    range::{Range, ratio},
    scenario::ErrorCosts,
    setup::{Lever, Setup},
};

/// More transactions a month than anybody has: where a break-even is looked for no further.
const MOST_VOLUME: u64 = 100_000_000_000;

/// Months until an outlay has come back; `null` is never.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceMonths)]
pub struct Span {
    /// The least outlay and the most saving.
    pub best: Option<f64>,
    /// Halfway of both.
    pub likely: Option<f64>,
    /// The most outlay and the least saving.
    pub worst: Option<f64>,
}

/// Transactions a month from which an outlay comes back within the horizon; `null` where none is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AdviceVolume)]
pub struct BreakEven {
    /// The least outlay and the most saving.
    pub best: Option<u64>,
    /// Halfway of both.
    pub likely: Option<u64>,
    /// The most outlay and the least saving.
    pub worst: Option<u64>,
}

/// An option with everything that was found about it. Amounts are in the scenario's currency; what is `null` is not
/// known, or does not apply.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceOption)]
pub struct Weighed {
    /// What it is called.
    pub name: String,
    /// Which lever it pulls.
    pub lever: Lever,
    /// How accurate it is, and how that is known.
    pub accuracy: Rated,
    /// Percentage points over today.
    pub points: f64,
    /// Whether it surely reaches what is wanted.
    pub reaches_target: Option<bool>,
    /// What it costs once.
    pub one_off: Option<Range>,
    /// Whose number that is: `stated`, or the guide's source.
    pub one_off_source: Option<String>,
    /// Weeks until it answers.
    pub weeks: Option<Range>,
    /// What it costs a month, upkeep included.
    pub per_month: Option<Range>,
    /// What of that keeps it right.
    pub upkeep_per_month: Option<Range>,
    /// Months between two trainings.
    pub retrain_every_months: Option<u32>,
    /// How much less a month than today.
    pub saving_per_month: Option<Range>,
    /// Until its outlay has come back, on bills alone.
    pub payback: Option<Span>,
    /// The same, with the errors that it avoids.
    pub payback_with_errors: Option<Span>,
    /// What it costs more than today over the horizon, outlay included; below nothing where it saves.
    pub extra_over_horizon: Option<Range>,
    /// That for each percentage point gained; nothing where it saves.
    pub cost_per_point: Option<Range>,
    /// Wrong answers a month.
    pub errors_per_month: Option<u64>,
    /// What they cost.
    pub errors_cost_per_month: Option<Range>,
    /// From which volume on its outlay comes back within the horizon, on bills alone.
    pub break_even: Option<BreakEven>,
    /// What speaks for or against it.
    pub finding: Finding,
    /// That in a sentence.
    pub says: String,
}

/// An option's costs, whatever the volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub(super) share: Share,
    pub(super) one_off: Range,
    pub(super) weeks: Option<Range>,
    running: Running,
    upkeep: Range,
}

/// How much there is to answer, and what an error costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) volume: u64,
    pub(super) error: Range,
}

impl Sums {
    /// What today costs. It needs no outlay any more.
    pub(super) fn today(case: &Case, guide: &Guide) -> Option<Result<Self, Missing>> {
        let today = case.scenario.today.as_ref()?;
        Some(Self::of(today, case, guide, None).map(|sums| Self { one_off: Range::ZERO, ..sums }))
    }

    /// What an option costs beside it.
    pub(super) fn option(setup: &Setup, case: &Case, guide: &Guide, today: &Self) -> Result<Self, Missing> {
        let one_off = options::one_off(setup, &case.scenario, guide)?;
        Self::of(setup, case, guide, Some(&today.running)).map(|sums| Self { one_off, ..sums })
    }

    fn of(setup: &Setup, case: &Case, guide: &Guide, today: Option<&Running>) -> Result<Self, Missing> {
        let running = options::running(setup, &case.scenario, guide, today)?;
        let upkeep = options::upkeep(setup, guide).map_or(Range::ZERO, |(_, month)| month);
        let weeks = options::weeks(setup, guide);
        Ok(Self { share: setup.accuracy.share(), one_off: Range::ZERO, weeks, running, upkeep })
    }

    /// A month, upkeep included.
    pub(super) fn month(&self, volume: u64) -> Range {
        self.running.month(volume).plus(self.upkeep)
    }
}

impl Scale {
    /// Bills alone.
    pub(super) fn without_errors(self) -> Self {
        Self { error: Range::ZERO, ..self }
    }

    /// How much less a month costs than before, errors included.
    pub(super) fn saving(self, before: &Sums, after: &Sums) -> Range {
        let avoided = Decimal::from(self.volume) * (after.share.decimal() - before.share.decimal());
        before.month(self.volume).minus(after.month(self.volume)).plus(self.error.times(avoided))
    }

    /// Until what `after` costs once has come back.
    pub(super) fn payback(self, before: &Sums, after: &Sums) -> Span {
        payback(after.one_off, self.saving(before, after))
    }

    /// Wrong answers a month.
    pub(super) fn errors(self, sums: &Sums) -> Decimal {
        Decimal::from(self.volume) * (Decimal::ONE - sums.share.decimal())
    }
}

/// What costs of errors a scenario states.
pub(super) fn error_cost(case: &Case) -> Range {
    case.scenario.errors.as_ref().map_or(Range::ZERO, ErrorCosts::each)
}

/// Until an outlay has come back.
pub(super) fn payback(one_off: Range, saving: Range) -> Span {
    let months = |outlay: Decimal, saved: Decimal| (saved > Decimal::ZERO).then(|| ratio(outlay, saved));
    Span {
        best: months(one_off.low, saving.high),
        likely: months(one_off.middle(), saving.middle()),
        worst: months(one_off.high, saving.low),
    }
}

impl Span {
    /// Whether one of these ends comes within so many months.
    pub(super) fn within(end: Option<f64>, months: u32) -> bool {
        end.is_some_and(|end| end <= f64::from(months))
    }
}

/// Everything about one option but what speaks for or against it.
pub(super) fn weigh(setup: &Setup, case: &Case, guide: &Guide, today: Option<&Sums>, sums: Option<&Sums>) -> Weighed {
    let accuracy = setup.accuracy.rated();
    let now = case.scenario.today.as_ref().map_or(accuracy.share, |today| today.accuracy.share().get());
    let upkeep = options::upkeep(setup, guide);
    let of_guide = || {
        let source = &options::row(setup, guide)?.source;
        let measured = options::own_training(setup, &case.scenario).is_some();
        Some(if measured { format!("{source}; machine hours of training as measured") } else { source.clone() })
    };
    let scale = case.volume.as_ref().map(|volume| Scale { volume: volume.value, error: error_cost(case) });
    let target = case.target.as_ref().map(|target| target.value);
    let blank = Weighed {
        name: setup.name.clone(),
        lever: setup.lever,
        points: tidy(100.0 * (accuracy.share - now)),
        accuracy,
        reaches_target: target.map(|target| setup.accuracy.reaches(target)),
        one_off: options::one_off(setup, &case.scenario, guide).ok(),
        one_off_source: if setup.one_off.is_some() { Some("stated".to_owned()) } else { of_guide() },
        weeks: options::weeks(setup, guide),
        per_month: None,
        upkeep_per_month: upkeep.map(|(_, month)| month),
        retrain_every_months: upkeep.map(|(every, _)| every),
        saving_per_month: None,
        payback: None,
        payback_with_errors: None,
        extra_over_horizon: None,
        cost_per_point: None,
        errors_per_month: None,
        errors_cost_per_month: None,
        break_even: None,
        finding: Finding::NotNow,
        says: String::new(),
    };
    let (Some(scale), Some(sums)) = (scale, sums) else { return blank };
    let errors = scale.errors(sums);
    let with_costs = Weighed {
        per_month: Some(sums.month(scale.volume)),
        errors_per_month: errors.round().to_u64(),
        errors_cost_per_month: case.scenario.errors.as_ref().map(|_| scale.error.times(errors)),
        ..blank
    };
    let Some(today) = today else { return with_costs };
    let saving = scale.without_errors().saving(today, sums);
    let horizon = case.scenario.horizon();
    let extra = sums.one_off.minus(saving.times(Decimal::from(horizon)));
    let gained = Decimal::try_from(with_costs.points).ok().filter(|points| *points > Decimal::ZERO);
    Weighed {
        saving_per_month: Some(saving),
        payback: Some(scale.without_errors().payback(today, sums)),
        payback_with_errors: case.scenario.errors.as_ref().map(|_| scale.payback(today, sums)),
        extra_over_horizon: Some(extra),
        cost_per_point: gained.map(|points| extra.at_least(Decimal::ZERO).over(Range::exact(points))),
        break_even: Some(break_even(today, sums, horizon)),
        ..with_costs
    }
}

impl Weighed {
    /// As what answers already: it is not to be had any more, and saves nothing beside itself.
    pub(super) fn in_force(self) -> Self {
        Self {
            one_off: None,
            one_off_source: None,
            weeks: None,
            saving_per_month: None,
            payback: None,
            payback_with_errors: None,
            extra_over_horizon: None,
            break_even: None,
            finding: Finding::Today,
            says: "what answers now".to_owned(),
            ..self
        }
    }
}

/// Rounded to a millionth: what is left of floats beyond that says nothing.
fn tidy(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn break_even(today: &Sums, sums: &Sums, horizon: u32) -> BreakEven {
    let end = |of: fn(&Span) -> Option<f64>| {
        let pays = |volume: u64| Span::within(of(&Scale { volume, error: Range::ZERO }.payback(today, sums)), horizon);
        first(1, MOST_VOLUME, pays)
    };
    BreakEven { best: end(|span| span.best), likely: end(|span| span.likely), worst: end(|span| span.worst) }
}

/// The first number from `low` to `high` of which something holds that holds of all after it; `None` where it does not
/// hold of the last.
pub(super) fn first(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if low > high || !holds(high) {
        return None;
    }
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn an_outlay_comes_back_in_its_months_or_never() {
        let span = payback(Range { low: dec!(6000), high: dec!(8000) }, Range { low: dec!(-100), high: dec!(3000) });
        assert_eq!((span.best, span.worst), (Some(2.0), None));
        assert!((span.likely.unwrap() - 7000.0 / 1450.0).abs() < 1e-9);
        assert!(Span::within(span.best, 2) && !Span::within(span.worst, 100));
    }

    #[test]
    fn the_first_number_is_found_or_there_is_none() {
        assert_eq!(first(1, 1_000, |n| n >= 637), Some(637));
        assert_eq!(
            (first(1, 1_000, |_| true), first(1, 1_000, |_| false), first(2, 1, |_| true)),
            (Some(1), None, None)
        );
    }
}
