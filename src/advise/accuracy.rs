//! How accurate an option is, and how that is known: measured on rows, claimed by somebody, or estimated.
//!
//! Nothing here measures; a claim stays marked as one wherever it is printed.

use rust_decimal::{Decimal, prelude::FromPrimitive as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::evaluate::metrics;

/// A share, in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "f64")]
#[schema(as = AdviceShare)]
pub struct Share(f64);

/// Not from 0 to 1.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be from 0 to 1")]
pub struct InvalidShare;

impl TryFrom<f64> for Share {
    type Error = InvalidShare;

    fn try_from(share: f64) -> Result<Self, InvalidShare> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(InvalidShare) }
    }
}

impl std::str::FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        text.parse::<f64>().map_err(|_| InvalidShare)?.try_into()
    }
}

impl Share {
    /// A share that the program itself names, in `[0, 1]`.
    pub(super) const fn fixed(share: f64) -> Self {
        Self(share)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The number, for sums of money.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        Decimal::from_f64(self.0).unwrap_or_default()
    }

    /// So much more or less, within `[0, 1]`.
    #[must_use]
    pub fn moved(self, by: f64) -> Self {
        // Whole thousandths, so that steps of a tenth of a point stay readable.
        Self(((self.0 + by).clamp(0.0, 1.0) * 1e6).round() / 1e6)
    }
}

/// How accurate an option is.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(tag = "basis", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = AdviceAccuracy)]
pub enum Accuracy {
    /// Counted on rows whose truth is known.
    Measured {
        /// Rows that were right.
        right: u32,
        /// Rows looked at.
        rows: u32,
        /// Which data.
        data: String,
        /// Which engine answered.
        engine: String,
        /// Whether these rows had a part in making it, or in choosing it: then they flatter it, and reach nothing surely.
        #[serde(default)]
        chosen_on: bool,
    },
    /// Somebody says so.
    Claimed {
        /// How much is right.
        share: Share,
        /// Who.
        source: String,
    },
    /// A guess.
    Estimated {
        /// How much is right.
        share: Share,
        /// By what.
        source: String,
    },
}

/// An accuracy as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdvisedAccuracy)]
pub struct Rated {
    /// `measured`, `claimed` or `estimated`.
    pub basis: &'static str,
    /// Share of right answers.
    pub share: f64,
    /// Lower end of the Wilson 95 % interval, where measured.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Rows that it was measured on.
    pub rows: Option<u32>,
    /// The data that it was measured on, or whose word it is.
    pub source: String,
    /// The engine that was measured.
    pub engine: Option<String>,
    /// Whether the rows had a part in making or choosing it, so that they flatter it.
    pub chosen_on: bool,
}

impl Accuracy {
    /// Whether it is one: at least one row, and no more right than there are.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self {
            Self::Measured { right, rows, .. } => *rows > 0 && right <= rows,
            Self::Claimed { .. } | Self::Estimated { .. } => true,
        }
    }

    /// The share of right answers.
    #[must_use]
    pub fn share(&self) -> Share {
        match self {
            Self::Measured { right, rows, .. } => Share(f64::from(*right) / f64::from((*rows).max(1))),
            Self::Claimed { share, .. } | Self::Estimated { share, .. } => *share,
        }
    }

    /// What a target is held to: the lower end of the interval where measured, else the word itself.
    #[must_use]
    pub fn surely(&self) -> Share {
        self.interval().map_or_else(|| self.share(), |interval| Share(interval.low))
    }

    /// Whether the rows had a part in making or choosing it.
    #[must_use]
    pub fn flatters(&self) -> bool {
        matches!(self, Self::Measured { chosen_on: true, .. })
    }

    /// Whether it surely reaches a target.
    #[must_use]
    pub fn reaches(&self, target: Share) -> bool {
        !self.flatters() && self.surely() >= target
    }

    /// As it is told.
    #[must_use]
    pub fn rated(&self) -> Rated {
        let interval = self.interval();
        let (basis, source, rows, engine) = match self {
            Self::Measured { rows, data, engine, .. } => ("measured", data, Some(*rows), Some(engine.clone())),
            Self::Claimed { source, .. } => ("claimed", source, None, None),
            Self::Estimated { source, .. } => ("estimated", source, None, None),
        };
        Rated {
            basis,
            share: self.share().get(),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            rows,
            source: source.clone(),
            engine,
            chosen_on: self.flatters(),
        }
    }

    fn interval(&self) -> Option<metrics::Share> {
        match self {
            Self::Measured { right, rows, .. } => {
                metrics::wilson(usize::try_from(*right).ok()?, usize::try_from(*rows).ok()?)
            }
            Self::Claimed { .. } | Self::Estimated { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_held_to_the_lower_end_of_what_was_measured() {
        let of = |right, chosen_on| {
            let (data, engine) = ("shops".to_owned(), "adapter:a@1".to_owned());
            Accuracy::Measured { right, rows: 200, data, engine, chosen_on }
        };
        let measured = of(184, false);
        let target = Share(0.92);
        assert!(!measured.reaches(target) && of(198, false).reaches(target));
        assert!(!of(198, true).reaches(target) && of(198, true).rated().chosen_on, "rows that chose it flatter it");
        assert!((measured.share().get() - 0.92).abs() < 1e-12 && measured.surely() < measured.share());
        let claimed = Accuracy::Claimed { share: Share(0.92), source: "a page".to_owned() };
        assert_eq!(claimed.surely(), Share(0.92));
        assert_eq!((claimed.rated().basis, claimed.rated().low), ("claimed", None));
    }

    #[test]
    fn an_accuracy_that_cannot_be_is_refused() {
        let read = |text: &str| serde_json::from_str::<Accuracy>(text);
        assert!(read(r#"{"basis": "claimed", "share": 1.2, "source": "x"}"#).is_err());
        assert!(read(r#"{"basis": "claimed", "share": 0.9}"#).is_err());
        assert!(read(r#"{"basis": "claimed", "share": 0.9, "source": "x", "rows": 3}"#).is_err());
        let more = read(r#"{"basis": "measured", "right": 3, "rows": 2, "data": "d", "engine": "e"}"#).unwrap();
        assert!(!more.holds());
    }
}
