//! From which prompt length on a claimed payback holds: a model that learned its examples no longer has to be sent them,
//! so what it saves grows with the prompt that it replaces.
//!
//! On bills alone: errors that are avoided are left out, and what is solved for is today's tokens a transaction.

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accuracy::Share,
    costs::Guide,
    decide::Decision,
    economics::{Span, payback},
    evidence::Case,
    options::{MILLION, answer_price, prompt_price, tokens_each},
    range::Range,
    setup::{Lever, Tokens},
    words::{amounts, count, ends, months, percent},
};

/// Lengths that the table shows, beside today's.
const SHOWN: [u32; 9] = [250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000];
/// The share of a prompt that caching is looked at with.
const CACHED: Share = Share::fixed(0.8);
const ALL: Share = Share::fixed(1.0);
/// Decimal places of a length.
const PLACES: u32 = 1;

/// Whether a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceHolds)]
pub enum Holds {
    /// Whatever the ends of the ranges.
    Yes,
    /// At the cheap end alone.
    Perhaps,
    /// Not even there.
    No,
}

/// From which prompt length on fine-tuning pays itself back in so many months.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdvicePromptLength)]
pub struct PromptLength {
    /// The option that replaces the prompt.
    pub option: String,
    /// The months that are claimed, else the horizon.
    pub payback_months: u32,
    /// What must be saved a month for that.
    pub needed_saving: Range,
    /// What today must cost a month for that: the saving and what the option costs.
    pub needed_bill: Range,
    /// Today's tokens a transaction, at today's price: stated, or solved for from the bill.
    pub today_tokens: Range,
    /// Whether the claim holds for what today costs.
    pub today: Holds,
    /// The length from which on it holds, at today's prices and where the provider takes less.
    pub thresholds: Vec<Threshold>,
    /// What lengths come to, at today's prices.
    pub lengths: Vec<Length>,
    /// The same in a sentence or two.
    pub says: String,
}

/// The length from which on the claim holds, under one way to be billed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceThreshold)]
pub struct Threshold {
    /// How it is billed.
    pub billed: String,
    /// What a million prompt tokens cost then.
    pub prompt_per_million: Range,
    /// Tokens a transaction: below the lower end the claim can't hold, from the upper end on it does.
    pub tokens: Range,
}

/// What one prompt length comes to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceLength)]
pub struct Length {
    /// Prompt tokens a transaction.
    #[schema(value_type = String)]
    pub tokens: Decimal,
    /// What a month costs with it.
    pub per_month: Range,
    /// What fine-tuning then saves a month.
    pub saving_per_month: Range,
    /// Until its outlay has come back.
    pub payback: Span,
    /// Whether that is within the months.
    pub holds: Holds,
    /// Whether this is today's length.
    pub is_today: bool,
}

/// The algebra for the plan's way to fine-tune, else the first; `None` where today pays for no tokens whose price is
/// known, or sums are missing.
pub(super) fn solve(case: &Case, guide: &Guide, decision: &Decision) -> Option<PromptLength> {
    let today = decision.today.as_ref()?;
    let volume = case.volume.as_ref()?.value;
    let tokens = case.scenario.today.as_ref()?.tokens?;
    let known = || {
        let all = case.scenario.options.iter().zip(&decision.options);
        all.filter(|(setup, _)| setup.lever == Lever::FineTune)
            .filter_map(|(setup, sums)| Some((setup, sums.as_ref()?)))
    };
    let planned = |name: &str| decision.verdict.steps.iter().any(|step| step.option.as_deref() == Some(name));
    let (setup, sums) = known().find(|(setup, _)| planned(&setup.name)).or_else(|| known().next())?;
    let claimed = case.scenario.claimed_payback_months.unwrap_or_else(|| case.scenario.horizon());
    let after = sums.month(volume);
    let needed_saving = sums.one_off.over(Range::exact(Decimal::from(claimed)));
    let needed_bill = needed_saving.plus(after);
    let claim = Claim { tokens, volume, after, one_off: sums.one_off, months: claimed };

    let bill = today.month(volume);
    let today_tokens = tokens.prompt.or_else(|| claim.length(&tokens, bill))?;
    let thresholds: Vec<Threshold> = ways(&tokens)
        .into_iter()
        .filter_map(|(billed, tokens)| {
            Some(Threshold {
                billed,
                prompt_per_million: prompt_price(&tokens),
                tokens: claim.length(&tokens, needed_bill)?,
            })
        })
        .collect();
    let now = today_tokens.middle().round_dp(PLACES).normalize();
    let mut shown: Vec<Decimal> = SHOWN.map(Decimal::from).into_iter().chain([now]).collect();
    shown.sort_unstable();
    shown.dedup();
    let lengths: Vec<Length> = shown.into_iter().map(|length| claim.at(length, length == now)).collect();
    let today_holds = claim.holds(&payback(sums.one_off, bill.minus(after)));
    let currency = guide.currency_of(&case.scenario);
    let first = thresholds.first()?;
    let says = format!(
        "`{}` pays itself back within {claimed} months where it replaces a bill of at least {} {currency} a month: {} \
         saved and {} that it costs. At {} a million prompt tokens and {} transactions that is a prompt of {} tokens a \
         transaction or more; with a shorter one the claim does not hold. Today's {} a month are {} tokens, with which it {}: {} months.",
        setup.name,
        amounts(needed_bill),
        amounts(needed_saving),
        amounts(after),
        amounts(first.prompt_per_million),
        count(volume),
        lengths_of(first.tokens),
        amounts(bill),
        lengths_of(today_tokens),
        match today_holds {
            Holds::Yes => "holds",
            Holds::Perhaps => "holds at the cheap end alone",
            Holds::No => "does not hold",
        },
        months(&payback(sums.one_off, bill.minus(after))),
    );
    Some(PromptLength {
        option: setup.name.clone(),
        payback_months: claimed,
        needed_saving,
        needed_bill,
        today_tokens,
        today: today_holds,
        thresholds,
        lengths,
        says,
    })
}

struct Claim {
    tokens: Tokens,
    volume: u64,
    after: Range,
    one_off: Range,
    months: u32,
}

impl Claim {
    /// The prompt length at which a month costs so much: `volume × (length × price + answer) = bill`.
    fn length(&self, tokens: &Tokens, bill: Range) -> Option<Range> {
        let price = prompt_price(tokens);
        if price.low <= Decimal::ZERO || self.volume == 0 {
            return None;
        }
        let of_million = bill.over(Range::exact(Decimal::from(self.volume))).by(MILLION);
        Some(of_million.minus(answer_price(tokens)).at_least(Decimal::ZERO).over(price))
    }

    fn at(&self, length: Decimal, is_today: bool) -> Length {
        let per_month = tokens_each(&self.tokens, Range::exact(length)).times(Decimal::from(self.volume));
        let saving_per_month = per_month.minus(self.after);
        let payback = payback(self.one_off, saving_per_month);
        Length { tokens: length, per_month, saving_per_month, holds: self.holds(&payback), payback, is_today }
    }

    fn holds(&self, payback: &Span) -> Holds {
        match () {
            () if Span::within(payback.worst, self.months) => Holds::Yes,
            () if Span::within(payback.best, self.months) => Holds::Perhaps,
            () => Holds::No,
        }
    }
}

/// As it is billed today, and with the ways in which the provider takes less.
fn ways(tokens: &Tokens) -> Vec<(String, Tokens)> {
    let cached = Tokens { cached_share: CACHED, ..*tokens };
    let waits = |tokens: Tokens| Tokens { batch_share: ALL, ..tokens };
    let may_cache = tokens.price.cached.is_some() && tokens.cached_share < CACHED;
    let may_wait = tokens.price.batch.is_some() && tokens.batch_share < ALL;
    let mut ways = vec![("as today".to_owned(), *tokens)];
    if may_cache {
        ways.push((format!("{} of the prompt cached", percent(CACHED.get())), cached));
    }
    if may_wait {
        ways.push(("all through the batch API".to_owned(), waits(*tokens)));
    }
    if may_cache && may_wait {
        ways.push(("both".to_owned(), waits(cached)));
    }
    ways
}

/// Token counts as people read them.
pub(super) fn lengths_of(tokens: Range) -> String {
    let end = |tokens: Decimal| count(tokens.round().to_u64().unwrap_or(u64::MAX));
    ends(&end(tokens.low), &end(tokens.high))
}
