//! `eval/costs.toml`: what levers cost where nobody has stated or measured it, by the day from which it holds.
//!
//! A guide's numbers, with their source. They are the last word only where nothing better is known.

use chrono::NaiveDate;
use serde::Deserialize;

use super::{Error, Scenario, range::Range};
use crate::domain::Currency;

const COMPILED_IN: &str = include_str!("../../eval/costs.toml");

/// `eval/costs.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// What all amounts are in.
    pub currency: Currency,
    /// What levers cost.
    #[serde(rename = "lever")]
    levers: Vec<LeverCost>,
    engineering: Vec<EngineeringCost>,
    retraining: Vec<RetrainingCost>,
}

/// What a lever costs from a day on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeverCost {
    /// What it is called, such as `lora_7b`.
    pub name: String,
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// Machines, once.
    #[serde(default)]
    pub compute: Option<Range>,
    /// People, once. [default: the weeks, at the price of a week]
    #[serde(default)]
    pub engineering: Option<Range>,
    /// As long as it runs.
    #[serde(default)]
    pub per_month: Option<Range>,
    /// Of a million tokens that are trained on.
    #[serde(default)]
    pub training: Option<Range>,
    /// From the decision until it answers.
    #[serde(default)]
    pub weeks: Option<Range>,
    /// Where this was read.
    pub source: String,
}

/// What a week of engineering costs from a day on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineeringCost {
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// One week of one person.
    pub week: Range,
    /// Where this was read.
    pub source: String,
}

/// What keeping a fine-tuned model right takes from a day on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainingCost {
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// Months between two trainings; at least 1.
    pub every_months: u32,
    /// Weeks of work for each.
    pub weeks: Range,
    /// Where this was read.
    pub source: String,
}

/// What holds on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct Guide {
    /// What all amounts are in.
    pub currency: Currency,
    /// One row for each lever.
    levers: Vec<LeverCost>,
    /// A week of engineering.
    pub engineering: EngineeringCost,
    /// Keeping a model right.
    pub retraining: RetrainingCost,
}

impl Costs {
    /// Reads a table.
    ///
    /// # Errors
    /// When it is not of this shape, or a model would be trained again every 0 months.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let costs: Self = toml::from_str(text).map_err(|source| Error::Costs(Box::new(source)))?;
        if costs.retraining.iter().any(|row| row.every_months == 0) {
            return Err(Error::NoCadence { name: "retraining".to_owned() });
        }
        Ok(costs)
    }

    /// The table that comes with the program.
    ///
    /// # Errors
    /// Never, as a test holds.
    pub fn compiled_in() -> Result<Self, Error> {
        Self::from_toml(COMPILED_IN)
    }

    /// What holds on a day: of each name the latest row that began by then.
    ///
    /// # Errors
    /// When the table begins later.
    pub fn on(&self, day: NaiveDate) -> Result<Guide, Error> {
        let latest = |row: &&LeverCost| {
            !self.levers.iter().any(|other| other.name == row.name && other.from <= day && other.from > row.from)
        };
        let missing = || Error::NoCosts { day };
        let engineering = self.engineering.iter().filter(|row| row.from <= day).max_by_key(|row| row.from);
        let retraining = self.retraining.iter().filter(|row| row.from <= day).max_by_key(|row| row.from);
        Ok(Guide {
            currency: self.currency,
            levers: self.levers.iter().filter(|row| row.from <= day).filter(latest).cloned().collect(),
            engineering: engineering.ok_or_else(missing)?.clone(),
            retraining: retraining.ok_or_else(missing)?.clone(),
        })
    }
}

impl Guide {
    /// The row of that name.
    #[must_use]
    pub fn lever(&self, name: &str) -> Option<&LeverCost> {
        self.levers.iter().find(|row| row.name == name)
    }

    /// The guide where weeks are paid otherwise: what it sums up as engineering itself no longer holds then.
    #[must_use]
    pub fn paid(mut self, week: Option<Range>) -> Self {
        if let Some(week) = week {
            self.engineering = EngineeringCost { week, source: "stated".to_owned(), ..self.engineering };
            self.levers.iter_mut().filter(|row| row.weeks.is_some()).for_each(|row| row.engineering = None);
        }
        self
    }

    /// What a scenario's amounts are in.
    #[must_use]
    pub fn currency_of(&self, scenario: &Scenario) -> Currency {
        scenario.currency.unwrap_or(self.currency)
    }

    /// The names of all rows.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levers.iter().map(|row| row.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_that_comes_with_the_program_has_what_the_guide_names() {
        let guide = Costs::compiled_in().unwrap().on(day("2026-11-25")).unwrap();
        let range = |low: &str, high: &str| Some(Range { low: low.parse().unwrap(), high: high.parse().unwrap() });
        let row = |name: &str| guide.lever(name).unwrap();
        assert_eq!(row("prompting").compute, range("0", "100"));
        assert_eq!(row("rag").per_month, range("70", "1000"));
        assert_eq!(
            (row("lora_7b").compute, row("lora_7b").engineering),
            (range("500", "3000"), range("4000", "12000"))
        );
        assert_eq!((row("lora_7b").weeks, row("lora_13b").weeks), (range("2", "4"), range("3", "6")));
        assert_eq!(row("lora_13b").compute, range("2000", "5000"));
        assert_eq!((row("full_7b").compute, row("full_7b").weeks), (range("10000", "30000"), range("4", "8")));
        assert_eq!(row("full_7b").engineering, range("8000", "20000"));
        assert_eq!(row("managed").training, range("0.80", "3.00"));
        assert!(guide.names().all(|name| row(name).source.contains("2026-11")));
        // The week's price is what the LoRA row comes to.
        let (lora, week) = (row("lora_7b"), guide.engineering.week);
        let (engineering, weeks) = (lora.engineering.unwrap(), lora.weeks.unwrap());
        assert_eq!((engineering.low / weeks.low, engineering.high / weeks.high), (week.low, week.high));
    }

    #[test]
    fn a_later_row_holds_from_its_day_on() {
        let text = "
            currency = 'USD'
            [[lever]]
            name = 'rag'
            from = '2026-11-01'
            per_month = 70
            source = 'first'
            [[lever]]
            name = 'rag'
            from = '2027-01-01'
            per_month = 50
            source = 'second'
            [[engineering]]
            from = '2026-11-01'
            week = 2000
            source = ''
            [[retraining]]
            from = '2026-11-01'
            every_months = 3
            weeks = 0.5
            source = ''
        ";
        let costs = Costs::from_toml(text).unwrap();
        let on = |text: &str| costs.on(day(text)).unwrap().lever("rag").unwrap().per_month.unwrap().low;
        assert_eq!((on("2026-12-31"), on("2027-01-01")), (dec!(70), dec!(50)));
        assert!(matches!(costs.on(day("2026-10-31")), Err(Error::NoCosts { .. })));
        let never = text.replace("every_months = 3", "every_months = 0");
        assert!(matches!(Costs::from_toml(&never), Err(Error::NoCadence { .. })));
    }
}
