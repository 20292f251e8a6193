//! How far a period's answers are from those of the time an engine was fitted on, and how accurate they are by an
//! audit. Pure arithmetic over counts.
//!
//! A [`Period`] counts what an engine answered, an [`Audit`] a random sample of the same rows that a person
//! labelled; [`Watch`](super::watch::Watch) makes a verdict of both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::Z;

/// Confidence is counted in so many bins of equal width, for known and unknown keys apart.
pub const BINS: usize = 5;
/// From this population stability index on, beyond what chance gives, a distribution has moved.
pub const MOVED: f64 = 0.1;
/// The 95 % quantile of the standard normal distribution.
const ONE_SIDED: f64 = 1.644_853_626_951_472;

/// What an engine answered in a period, counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// Answers of each category.
    pub classes: BTreeMap<String, u64>,
    /// Answers by confidence, lowest bin first, where the engine's labels had shown the key.
    pub known: [u64; BINS],
    /// The same of the other rows.
    pub unknown: [u64; BINS],
    /// Sum of the confidences.
    pub confidence: f64,
}

impl Period {
    /// Counts an answer.
    pub fn add(&mut self, class: &str, confidence: f32, known: bool) {
        *self.classes.entry(class.to_owned()).or_default() += 1;
        let bin = ((f64::from(confidence) * BINS as f64) as usize).min(BINS - 1);
        let bins = if known { &mut self.known } else { &mut self.unknown };
        bins[bin] += 1;
        self.confidence += f64::from(confidence);
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.known.iter().chain(&self.unknown).sum()
    }

    /// Share of rows with an unknown key; 0 without rows.
    #[must_use]
    pub fn unknown_share(&self) -> f64 {
        self.unknown.iter().sum::<u64>() as f64 / self.rows().max(1) as f64
    }

    /// Mean confidence; 0 without rows.
    #[must_use]
    pub fn mean_confidence(&self) -> f64 {
        self.confidence / self.rows().max(1) as f64
    }
}

/// Rows drawn at random from a period and labelled by a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Rows.
    pub rows: u64,
    /// How many of their answers were right.
    pub right: u64,
    /// Sum over them of right (1 or 0) minus confidence.
    pub surprise: f64,
    /// Sum over them of that difference's square.
    pub squares: f64,
}

impl Audit {
    /// Counts an audited answer.
    pub fn add(&mut self, right: bool, confidence: f32) {
        let surprise = f64::from(u8::from(right)) - f64::from(confidence);
        self.rows += 1;
        self.right += u64::from(right);
        self.surprise += surprise;
        self.squares += surprise * surprise;
    }

    /// Accuracy of the whole period: its mean confidence, corrected by how much audited rows differ from theirs.
    /// Unbiased however wrong the confidences are, and the better they are the narrower. `None` without rows.
    #[must_use]
    pub fn estimate(&self, of: &Period) -> Option<Estimate> {
        if self.rows == 0 || of.rows() == 0 {
            return None;
        }
        let n = self.rows as f64;
        let share = of.mean_confidence() + self.surprise / n;
        // As if one more row had been a whole surprise: a few audited rows that all went well prove little.
        let variance = (self.squares + 1.0 - self.surprise * self.surprise / n).max(0.0) / n;
        let left = (1.0 - n / of.rows() as f64).max(0.0);
        let error = (variance / n * left).sqrt();
        let clamped = |value: f64| value.clamp(0.0, 1.0);
        Some(Estimate {
            share: clamped(share),
            low: clamped(share - Z * error),
            high: clamped(share + Z * error),
            at_most: clamped(share + ONE_SIDED * error),
        })
    }
}

/// An accuracy estimated from an audit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub share: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// One-sided 95 % upper bound.
    pub at_most: f64,
}

/// What answers were like, and how often they were right, when the engine was fitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The answers.
    pub period: Period,
    /// How many answers to known keys were right.
    pub known_right: u64,
    /// How many of the others were.
    pub unknown_right: u64,
}

impl Reference {
    /// Counts an answer whose truth is known.
    pub fn add(&mut self, class: &str, confidence: f32, known: bool, right: bool) {
        self.period.add(class, confidence, known);
        let count = if known { &mut self.known_right } else { &mut self.unknown_right };
        *count += u64::from(right);
    }

    /// The accuracy a period would have if known and unknown keys were answered as well as in the reference:
    /// needs no label, and can't see that either group has become harder.
    #[must_use]
    pub fn expects(&self, of: &Period) -> f64 {
        let share = |right: u64, bins: &[u64]| right as f64 / bins.iter().sum::<u64>().max(1) as f64;
        let unknown = of.unknown_share();
        share(self.known_right, &self.period.known) * (1.0 - unknown)
            + share(self.unknown_right, &self.period.unknown) * unknown
    }
}

/// How a period differs from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Population stability index of the answers, chance taken off.
    pub classes: f64,
    /// The same of key known or not and confidence, together.
    pub confidence: f64,
    /// Share of rows with an unknown key.
    pub unknown: f64,
    /// Minus the reference's.
    pub unknown_gain: f64,
    /// Mean confidence.
    pub mean_confidence: f64,
    /// Minus the reference's.
    pub confidence_gain: f64,
}

impl Drift {
    /// Compares two periods.
    #[must_use]
    pub fn between(reference: &Period, now: &Period) -> Self {
        let mut classes: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        reference.classes.iter().for_each(|(class, count)| classes.entry(class).or_default().0 += count);
        now.classes.iter().for_each(|(class, count)| classes.entry(class).or_default().1 += count);
        let (then_classes, now_classes): (Vec<u64>, Vec<u64>) = classes.into_values().unzip();
        Self {
            classes: psi(&then_classes, &now_classes),
            confidence: psi(&[reference.known, reference.unknown].concat(), &[now.known, now.unknown].concat()),
            unknown: now.unknown_share(),
            unknown_gain: now.unknown_share() - reference.unknown_share(),
            mean_confidence: now.mean_confidence(),
            confidence_gain: now.mean_confidence() - reference.mean_confidence(),
        }
    }
}

/// Population stability index between two counts of the same bins, half a row added to each, less what two
/// samples of one distribution would show by chance; not below 0. Below 0.1 is called stable, from 0.25 on a
/// major shift.
#[must_use]
pub fn psi(reference: &[u64], now: &[u64]) -> f64 {
    let bins = reference.iter().zip(now).filter(|(then, now)| **then + **now > 0).count();
    let (then_all, now_all) = (reference.iter().sum::<u64>() as f64, now.iter().sum::<u64>() as f64);
    if bins < 2 || then_all == 0.0 || now_all == 0.0 {
        return 0.0;
    }
    let half = 0.5 * bins as f64;
    let moved: f64 = reference
        .iter()
        .zip(now)
        .filter(|(then, now)| **then + **now > 0)
        .map(|(&then, &now)| ((then as f64 + 0.5) / (then_all + half), (now as f64 + 0.5) / (now_all + half)))
        .map(|(then, now)| (now - then) * (now / then).ln())
        .sum();
    (moved - (bins - 1) as f64 * (1.0 / then_all + 1.0 / now_all)).max(0.0)
}
