//! Which lever to pull next, with what it costs and what it rests on.
//!
//! Six [`questions`] in order say which lever; [`economics`] and [`prompt_length`] do the sums; `decide` comes to a [`verdict`],
//! [`findings`] says what speaks against the others, [`sensitivity`] what would change it, [`report`] prints. A
//! [`scenario`] says what the case is; what it leaves out comes from [`evidence`] of this deployment and from [`costs`].
//!
//! All of it is arithmetic but [`Known::read`]. It trains nothing, measures nothing and changes nothing.

pub mod accuracy;
pub mod costs;
mod decide;
pub mod economics;
pub mod evidence;
pub mod findings;
pub mod live;
mod measured;
mod options;
pub mod prompt_length;
pub mod questions;
pub mod range;
pub mod report;
pub mod scenario;
pub mod sensitivity;
pub mod setup;
pub mod verdict;
mod words;

#[cfg(test)]
mod tests;

use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

pub use costs::Costs;
pub use evidence::{Known, Looking};
pub use scenario::Scenario;

use crate::domain::Currency;
use costs::Guide;
use decide::Decision;
use economics::Weighed;
use evidence::Case;

/// Why no advice can be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cost table that can't be read.
    #[error("the cost table can't be read")]
    Costs(#[source] Box<toml::de::Error>),
    /// A cost table that begins later.
    #[error("the cost table has no engineering and no retraining for {day}")]
    NoCosts {
        /// The day.
        day: NaiveDate,
    },
    /// A scenario in TOML that can't be read.
    #[error("the scenario is not of the documented shape")]
    Toml(#[source] Box<toml::de::Error>),
    /// A scenario in JSON that can't be read.
    #[error("the scenario is not of the documented shape")]
    Json(#[source] serde_json::Error),
    /// Too large a count.
    #[error("`{member}` must be at most {most}")]
    TooMany {
        /// Which.
        member: &'static str,
        /// The limit.
        most: u64,
    },
    /// More options than fit on a page.
    #[error("there must be at most {most} options")]
    TooManyOptions {
        /// The limit.
        most: usize,
    },
    /// No time for anything.
    #[error("`horizon_months` and `claimed_payback_months` must be at least 1")]
    NoMonths,
    /// Two options that can't be told apart.
    #[error("two options are called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// More rows right than there are, or no row.
    #[error("the accuracy of `{name}` was measured on no row, or has more rows right than there are")]
    NoAccuracy {
        /// Whose.
        name: String,
    },
    /// A bill for nothing.
    #[error("the bill of `{name}` is for no transaction")]
    EmptyBill {
        /// Whose.
        name: String,
    },
    /// A machine that does nothing.
    #[error("the machines of `{name}` answer nothing: `rows_per_s` must be above 0")]
    NoSpeed {
        /// Whose.
        name: String,
    },
    /// Trained again all the time.
    #[error("`{name}` is trained again every 0 months: `every_months` must be at least 1")]
    NoCadence {
        /// Whose.
        name: String,
    },
    /// No such row in the cost table.
    #[error("`{name}` names the guide's row `{row}`, and there are {known}")]
    UnknownGuide {
        /// Which option.
        name: String,
        /// What it names.
        row: String,
        /// What there is.
        known: String,
    },
    /// The guide's amounts are in another currency.
    #[error("`{name}` leaves costs to the guide, which is in {guide}, and the scenario is in {scenario}: state them")]
    OtherCurrency {
        /// Which option.
        name: String,
        /// The scenario's.
        scenario: Currency,
        /// The guide's.
        guide: Currency,
    },
}

/// What to do next, with everything that it rests on. Shares are in 0 to 1, amounts in `currency`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Advice {
    /// What the case is called.
    pub scenario: String,
    /// The day whose costs hold.
    pub as_of: NaiveDate,
    /// ISO 4217.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// Within how many months an outlay must come back.
    pub horizon_months: u32,
    /// Transactions a month.
    pub transactions_per_month: Option<u64>,
    /// The accuracy that is wanted.
    pub target: Option<f64>,
    /// What to do.
    pub verdict: verdict::Verdict,
    /// The six questions.
    pub questions: Vec<questions::Answered>,
    /// What answers today.
    pub today: Option<Weighed>,
    /// What people said of its live answers, where enough were drawn at random.
    #[schema(required)]
    pub live: Option<live::Live>,
    /// What could be done.
    pub options: Vec<Weighed>,
    /// Whose word the costs of errors are.
    pub errors_source: Option<String>,
    /// From which prompt length on fine-tuning pays itself back in time.
    pub prompt_length: Option<prompt_length::PromptLength>,
    /// What would change the decision.
    pub sensitivity: Vec<sensitivity::Change>,
    /// What nobody has said, and how to say it.
    pub asked: Vec<questions::Ask>,
}

/// Advice on a scenario, with what this deployment knows, by what costs hold on a day.
///
/// # Errors
/// When the scenario contradicts itself, or the cost table does not reach back to the day.
pub fn advise(scenario: Scenario, known: &Known, costs: &Costs, as_of: NaiveDate) -> Result<Advice, Error> {
    let guide = costs.on(as_of)?.paid(scenario.engineer_week);
    let case = known.fill(scenario);
    case.scenario.check(&guide)?;
    let decision = decide::decide(&case, &guide);
    let (today, options) = weighed(&case, &guide, &decision);
    let prompt_length = prompt_length::solve(&case, &guide, &decision);
    let sensitivity = sensitivity::changes(&case, &guide, &decision);
    Ok(Advice {
        as_of,
        currency: guide.currency_of(&case.scenario),
        horizon_months: case.scenario.horizon(),
        transactions_per_month: case.volume.as_ref().map(|volume| volume.value),
        target: case.target.as_ref().map(|target| target.value.get()),
        verdict: decision.verdict,
        questions: decision.answers,
        today,
        live: case.live,
        options,
        errors_source: case.scenario.errors.as_ref().and_then(|errors| errors.source.clone()),
        prompt_length,
        sensitivity,
        asked: decision.asked,
        scenario: case.scenario.name.unwrap_or_else(|| "this deployment".to_owned()),
    })
}

/// What answers today, and every option beside it, with what speaks for or against it.
fn weighed(case: &Case, guide: &Guide, decision: &Decision) -> (Option<Weighed>, Vec<Weighed>) {
    let now = decision.today.as_ref();
    let weigh = |setup, sums| economics::weigh(setup, case, guide, now, sums);
    let today = case.scenario.today.as_ref().map(|setup| weigh(setup, now).in_force());
    let both = case.scenario.options.iter().zip(&decision.options);
    let mut options: Vec<Weighed> = both.map(|(setup, sums)| weigh(setup, sums.as_ref())).collect();
    findings::find(&mut options, &decision.verdict, guide.currency_of(&case.scenario));
    (today, options)
}
