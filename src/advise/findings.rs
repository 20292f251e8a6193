//! What speaks for or against each option beside the plan: whether it is part of it, whether its accuracy or its cost is
//! the problem.

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    economics::Weighed,
    range::Range,
    setup::Lever,
    verdict::Verdict,
    words::{amounts, comes_back, percent, points},
};
use crate::domain::Currency;

/// What speaks for or against an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceFinding)]
pub enum Finding {
    /// It answers already.
    Today,
    /// It is a step of the plan.
    Step,
    /// It gains no accuracy.
    AccuracyProblem,
    /// It gains accuracy, and another option gains as much for less a month, whatever the ends of the ranges.
    CostProblem,
    /// Nothing against it, and not what comes next.
    NotNow,
}

/// Finds what speaks for or against each option.
pub(super) fn find(options: &mut [Weighed], verdict: &Verdict, currency: Currency) {
    let before = options.to_vec();
    for option in options {
        let place = verdict.steps.iter().position(|step| step.option.as_deref() == Some(&option.name));
        let cheaper = cheaper(option, &before);
        (option.finding, option.says) = match (place, cheaper) {
            (Some(place), _) => (Finding::Step, format!("step {} of the plan", place + 1)),
            (None, _) if option.points <= 0.0 => (
                Finding::AccuracyProblem,
                format!("an accuracy problem: {} points beside today", points(option.points)),
            ),
            (None, Some(other)) => (Finding::CostProblem, cost_problem(option, other, &before, currency)),
            (None, None) => (Finding::NotNow, not_now(option)),
        };
    }
}

/// The most accurate of the options that are at least as accurate and cost less a month.
fn cheaper<'a>(option: &Weighed, others: &'a [Weighed]) -> Option<&'a Weighed> {
    let most = option.per_month?.low;
    let beats = |other: &&Weighed| {
        other.name != option.name
            && other.accuracy.share >= option.accuracy.share
            && other.per_month.is_some_and(|month| month.high < most)
    };
    others.iter().filter(beats).max_by(|a, b| a.accuracy.share.total_cmp(&b.accuracy.share))
}

fn cost_problem(option: &Weighed, other: &Weighed, all: &[Weighed], currency: Currency) -> String {
    let mut says = format!("a cost problem, not an accuracy problem: {} points over today", points(option.points));
    let prompts = all.iter().filter(|one| one.lever == Lever::Prompt && one.name != option.name && one.points > 0.0);
    if let Some(prompt) = prompts.max_by(|a, b| a.points.total_cmp(&b.points)) {
        says += &format!(", {} over `{}`", points(option.points - prompt.points), prompt.name);
        let dearer = option.per_month.zip(prompt.per_month).filter(|(dear, plain)| dear.low > plain.high);
        if let Some((dear, plain)) = dearer {
            says += &format!(", which costs {} {currency} less a month", amounts(dear.minus(plain)));
        }
    }
    if let Some(saving) = option.saving_per_month {
        let more = saving.times(Decimal::NEGATIVE_ONE);
        if let Some(each) = Decimal::try_from(option.points).ok().map(Range::exact).filter(|_| more.low > Decimal::ZERO)
        {
            says += &format!(
                "; {} {currency} a month more than today, {} for each point",
                amounts(more),
                amounts(more.over(each)),
            );
        }
    }
    let month = other.per_month.map_or_else(String::new, |month| format!(" for {} {currency} a month", amounts(month)));
    says +=
        &format!("; `{}` is right on {} ({}){month}", other.name, percent(other.accuracy.share), other.accuracy.basis);
    says
}

fn not_now(option: &Weighed) -> String {
    match (option.lever, &option.payback) {
        (Lever::FineTune, Some(span)) => {
            format!("not what comes next; its outlay {} on bills alone", comes_back(span))
        }
        _ => "nothing against it, and not what comes next".to_owned(),
    }
}
