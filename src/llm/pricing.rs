//! What calls cost: prices by the day from which they hold, and what may be spent.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Error, Usage};
use crate::domain::Currency;

/// Prices per million tokens from a day on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// Of the prompt.
    pub prompt: Decimal,
    /// Of the prompt's tokens that the provider had kept. [default: the prompt's]
    #[serde(default)]
    pub cached: Option<Decimal>,
    /// Of the prompt's tokens that the provider keeps from now on. [default: the prompt's]
    #[serde(default)]
    pub cache_written: Option<Decimal>,
    /// Of the answer.
    pub completion: Decimal,
    /// What the batch API takes of these prices, such as `0.5`. [default: all]
    #[serde(default)]
    pub batch: Option<Decimal>,
    /// Of a token that fine-tuning trains on, once for every epoch. [default: not known]
    #[serde(default)]
    pub training: Option<Decimal>,
    /// Where this was read, and when.
    pub source: String,
}

/// What may be spent; a call that could pass a limit is not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// What prices and limits are in.
    #[serde(default = "dollars")]
    pub currency: String,
    /// A day, in UTC.
    #[serde(default)]
    pub daily: Option<Decimal>,
    /// A calendar month, in UTC.
    #[serde(default)]
    pub monthly: Option<Decimal>,
}

fn dollars() -> String {
    "USD".to_owned()
}

impl Default for Budget {
    fn default() -> Self {
        Self { currency: dollars(), daily: None, monthly: None }
    }
}

impl Budget {
    /// # Errors
    /// When a limit is negative, or the currency none.
    pub(super) fn check(&self) -> Result<(), Error> {
        if [self.daily, self.monthly].into_iter().flatten().any(|limit| limit < Decimal::ZERO) {
            return Err(Error::Budget { says: "a limit can't be negative; without one, leave it out" });
        }
        if self.currency.parse::<Currency>().is_err() {
            return Err(Error::Budget { says: "`currency` must be an ISO 4217 code, such as USD" });
        }
        Ok(())
    }

    /// Whether it limits anything.
    #[must_use]
    pub fn limits(&self) -> bool {
        self.daily.is_some() || self.monthly.is_some()
    }
}

impl Price {
    /// The price that holds on a day: the latest that began by then.
    #[must_use]
    pub fn on(prices: &[Self], day: NaiveDate) -> Option<&Self> {
        prices.iter().filter(|price| price.from <= day).max_by_key(|price| price.from)
    }

    pub(super) fn is_positive(&self) -> bool {
        let all =
            [Some(self.prompt), self.cached, self.cache_written, Some(self.completion), self.batch, self.training];
        all.into_iter().flatten().all(|price| price >= Decimal::ZERO) && self.batch.is_none_or(|of| of <= Decimal::ONE)
    }

    /// What training on so many tokens costs, all epochs together; `None` where that is not known.
    #[must_use]
    pub fn of_training(&self, tokens: u64) -> Option<Decimal> {
        Some(self.training? * Decimal::from(tokens) / Decimal::from(1_000_000))
    }

    /// The same prices as the batch API takes them.
    #[must_use]
    pub fn in_batches(&self) -> Self {
        let part = self.batch.unwrap_or(Decimal::ONE);
        Self {
            prompt: self.prompt * part,
            cached: self.cached.map(|price| price * part),
            cache_written: self.cache_written.map(|price| price * part),
            completion: self.completion * part,
            ..self.clone()
        }
    }

    /// The most that these tokens of a prompt and an answer can cost, whatever the provider keeps of the prompt.
    #[must_use]
    pub fn at_most(&self, prompt: u32, completion: u32) -> Decimal {
        let plain = Usage { prompt, completion, ..Usage::default() };
        let ways = [Usage { cached: prompt, ..plain }, Usage { cache_written: prompt, ..plain }];
        ways.into_iter().map(|usage| self.of(usage)).fold(self.of(plain), Decimal::max)
    }

    /// What these tokens cost.
    #[must_use]
    pub fn of(&self, usage: Usage) -> Decimal {
        let kept = self.cached.unwrap_or(self.prompt);
        let keeping = self.cache_written.unwrap_or(self.prompt);
        let plain = usage.prompt.saturating_sub(usage.cached).saturating_sub(usage.cache_written);
        let parts = [
            (plain, self.prompt),
            (usage.cached, kept),
            (usage.cache_written, keeping),
            (usage.completion, self.completion),
        ];
        parts.into_iter().map(|(tokens, price)| Decimal::from(tokens) * price).sum::<Decimal>()
            / Decimal::from(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn price(from: &str) -> Price {
        Price {
            from: from.parse().unwrap(),
            prompt: dec!(0.15),
            cached: Some(dec!(0.075)),
            cache_written: None,
            completion: dec!(0.60),
            batch: None,
            training: None,
            source: String::new(),
        }
    }

    #[test]
    fn kept_tokens_cost_less_and_are_not_paid_twice() {
        let usage = Usage { prompt: 1_000_000, cached: 400_000, cache_written: 0, completion: 100_000 };
        assert_eq!(price("2026-01-01").of(usage), dec!(0.18));
    }

    #[test]
    fn the_most_that_a_call_can_cost_is_reckoned_with_a_prompt_that_is_kept() {
        let plain = price("2026-01-01");
        assert_eq!(plain.at_most(1_000_000, 100_000), dec!(0.21));
        let dearer = Price { cache_written: Some(dec!(0.1875)), ..plain };
        assert_eq!(dearer.at_most(1_000_000, 100_000), dec!(0.2475));
    }

    #[test]
    fn the_latest_price_that_began_holds() {
        let prices = [price("2026-03-01"), price("2026-01-01")];
        let on = |day: &str| Price::on(&prices, day.parse().unwrap()).map(|price| price.from.to_string());
        assert_eq!(on("2026-02-28").as_deref(), Some("2026-01-01"));
        assert_eq!(on("2026-03-01").as_deref(), Some("2026-03-01"));
        assert_eq!(on("2025-12-31"), None);
    }
}
