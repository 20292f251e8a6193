//! The case that advice is about, as a person writes it down in TOML or JSON.
//!
//! What a scenario leaves out is taken from this deployment, where it says nothing of `today`; then from
//! [`costs`](super::costs); then it is asked for.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Error,
    accuracy::Share,
    costs::Guide,
    range::Range,
    setup::{Lever, Setup},
};
use crate::domain::Currency;

/// The largest count that is taken: a hundred thousand millions a month.
const MOST: u64 = 100_000_000_000;
/// More than anybody compares on one page.
const MOST_OPTIONS: usize = 20;

/// What is to be decided, and what is known about it. Every member may be left out.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Scenario)]
pub struct Scenario {
    /// What to call it.
    pub name: Option<String>,
    /// What all amounts are in, ISO 4217. [default: that of the cost table]
    #[schema(value_type = Option<String>)]
    pub currency: Option<Currency>,
    /// Transactions a month that are categorized.
    pub transactions_per_month: Option<u64>,
    /// Labelled examples that may be learned from, without those that are doubted.
    pub labels: Option<u64>,
    /// The accuracy that is wanted.
    #[schema(value_type = Option<f64>)]
    pub target: Option<Share>,
    /// Within how many months an outlay must come back. [default: 12]
    pub horizon_months: Option<u32>,
    /// Months within which somebody says that fine-tuning pays itself back, to be looked at.
    pub claimed_payback_months: Option<u32>,
    /// What nothing can measure.
    #[serde(default)]
    pub answers: Answers,
    /// What a wrong answer costs. Without it, errors are counted and cost nothing.
    pub errors: Option<ErrorCosts>,
    /// What an hour of a machine costs, where an option names no price of its own.
    pub machine_per_hour: Option<Range>,
    /// What a week of engineering costs: then weeks are paid at this, and the guide's sums of engineering no longer hold.
    pub engineer_week: Option<Range>,
    /// What answers now.
    pub today: Option<Setup>,
    /// What could be done.
    #[serde(default, rename = "option")]
    pub options: Vec<Setup>,
    /// Members that a flag of the command line said.
    #[serde(skip)]
    pub flags: BTreeSet<&'static str>,
}

/// What nothing can measure, and a person must say.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceAnswers)]
pub struct Answers {
    /// Whether right answers need facts that change or that no model has seen.
    pub private_or_current_data: Option<Reply>,
    /// Whether the model has to behave in one way consistently, which words did not bring it to.
    pub consistent_behaviour: Option<Reply>,
    /// Whether there is somebody to train it again and watch it.
    pub maintainable: Option<Reply>,
}

/// Yes or no, and why. As input a boolean does too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(from = "WrittenReply")]
#[schema(as = AdviceReply)]
pub struct Reply {
    /// Yes or no.
    pub answer: bool,
    /// Why.
    pub because: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "must be true or false, or an object of `answer` and `because`")]
enum WrittenReply {
    Plain(bool),
    Reasoned(Reasoned),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasoned {
    answer: bool,
    because: String,
}

impl From<WrittenReply> for Reply {
    fn from(written: WrittenReply) -> Self {
        match written {
            WrittenReply::Plain(answer) => Self { answer, because: None },
            WrittenReply::Reasoned(Reasoned { answer, because }) => Self { answer, because: Some(because) },
        }
    }
}

/// What a wrong answer costs: some end with a call to support, some are put right by staff.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceErrorCosts)]
pub struct ErrorCosts {
    /// Share of wrong answers that somebody contacts support about.
    #[serde(default)]
    #[schema(value_type = f64)]
    pub contact_share: Share,
    /// What one contact costs.
    pub contact_cost: Option<Range>,
    /// Share of wrong answers that staff put right.
    #[serde(default)]
    #[schema(value_type = f64)]
    pub review_share: Share,
    /// Minutes for each.
    pub review_minutes: Option<Range>,
    /// What an hour of theirs costs.
    pub wage_per_hour: Option<Range>,
    /// Whose numbers these are.
    pub source: Option<String>,
}

impl ErrorCosts {
    /// One wrong answer.
    #[must_use]
    pub fn each(&self) -> Range {
        let contact = self.contact_cost.unwrap_or(Range::ZERO).times(self.contact_share.decimal());
        let hours = self.review_minutes.unwrap_or(Range::ZERO).over(Range::exact(Decimal::from(60)));
        let review = hours.by(self.wage_per_hour.unwrap_or(Range::ZERO)).times(self.review_share.decimal());
        contact.plus(review)
    }
}

impl Scenario {
    /// Reads TOML.
    ///
    /// # Errors
    /// When it is not of this shape.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|source| Error::Toml(Box::new(source)))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// When it is not of this shape.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Json)
    }

    /// Within how many months an outlay must come back.
    #[must_use]
    pub fn horizon(&self) -> u32 {
        self.horizon_months.unwrap_or(12)
    }

    /// Today, and then every option.
    pub fn setups(&self) -> impl Iterator<Item = &Setup> {
        self.today.iter().chain(&self.options)
    }

    /// Whether it holds together.
    ///
    /// # Errors
    /// The first thing that can't be.
    pub(super) fn check(&self, guide: &Guide) -> Result<(), Error> {
        let counts = [("transactions_per_month", self.transactions_per_month), ("labels", self.labels)];
        if let Some((member, _)) = counts.into_iter().find(|(_, count)| count.is_some_and(|count| count > MOST)) {
            return Err(Error::TooMany { member, most: MOST });
        }
        if self.horizon() == 0 || self.claimed_payback_months == Some(0) {
            return Err(Error::NoMonths);
        }
        if self.options.len() > MOST_OPTIONS {
            return Err(Error::TooManyOptions { most: MOST_OPTIONS });
        }
        let currency = guide.currency_of(self);
        let mut names = BTreeSet::new();
        for setup in self.setups() {
            let name = || setup.name.clone();
            if !names.insert(&setup.name) {
                return Err(Error::SameName { name: name() });
            }
            if !setup.accuracy.holds() {
                return Err(Error::NoAccuracy { name: name() });
            }
            if setup.bill.is_some_and(|bill| bill.transactions == 0) {
                return Err(Error::EmptyBill { name: name() });
            }
            if setup.machines.is_some_and(|machines| machines.rows_per_s.low.is_zero()) {
                return Err(Error::NoSpeed { name: name() });
            }
            if setup.retraining.is_some_and(|retraining| retraining.every_months == 0) {
                return Err(Error::NoCadence { name: name() });
            }
            if let Some(row) = setup.guide.as_ref().filter(|row| guide.lever(row).is_none()) {
                let known = guide.names().collect::<Vec<_>>().join(", ");
                return Err(Error::UnknownGuide { name: name(), row: row.clone(), known });
            }
            let cared_for = setup.lever != Lever::FineTune || setup.retraining.is_some_and(|care| care.cost.is_some());
            if currency != guide.currency && !(setup.guide.is_none() && setup.training.is_none() && cared_for) {
                return Err(Error::OtherCurrency { name: name(), scenario: currency, guide: guide.currency });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn an_error_costs_its_share_of_calls_and_of_minutes() {
        let errors = ErrorCosts {
            contact_share: 0.002.try_into().unwrap(),
            contact_cost: Some(Range { low: dec!(5), high: dec!(10) }),
            review_share: 0.1.try_into().unwrap(),
            review_minutes: Some(Range::exact(dec!(0.5))),
            wage_per_hour: Some(Range::exact(dec!(30))),
            source: None,
        };
        // 0.002 × 5 + 0.1 × 0.5/60 × 30 = 0.010 + 0.025
        let each = errors.each();
        assert_eq!((each.low.round_dp(6), each.high.round_dp(6)), (dec!(0.035), dec!(0.045)));
    }

    #[test]
    fn a_scenario_is_the_same_in_toml_and_json() {
        let toml = "
            transactions_per_month = 3_000_000
            answers.maintainable = { answer = true, because = 'one engineer' }
            [[option]]
            name = 'managed'
            lever = 'fine_tune'
            accuracy = { basis = 'claimed', share = 0.92, source = 'x' }
            tokens = { prompt = 300, answer = 25, price = { prompt = '0.40', completion = '1.60', premium = 2 } }
        ";
        let json = r#"{
            "transactions_per_month": 3000000,
            "answers": { "maintainable": { "answer": true, "because": "one engineer" } },
            "option": [{
                "name": "managed", "lever": "fine_tune",
                "accuracy": { "basis": "claimed", "share": 0.92, "source": "x" },
                "tokens": { "prompt": 300, "answer": 25,
                    "price": { "prompt": 0.40, "completion": "1.60", "premium": 2 } }
            }]
        }"#;
        assert_eq!(Scenario::from_toml(toml).unwrap(), Scenario::from_json(json).unwrap());
        assert!(matches!(Scenario::from_toml("tokens = 3"), Err(Error::Toml(_))));
    }
}
