//! Whether an adapter should be trained again, and why: a plan that opens itself.
//!
//! Pure: what is known of the adapter comes as [`Signs`], what is too much as [`Limits`].

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::watch::Comparison;
use crate::{
    evaluate::{
        drift::{Drift, MOVED},
        metrics::{self, Share},
    },
    store::LiveTally,
};

/// What is known of an adapter in service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signs {
    /// When it was registered.
    pub registered_at: DateTime<Utc>,
    /// Labels that it learned from.
    pub labels: u32,
    /// Labels that people have given since it was registered.
    pub new_labels: u32,
    /// Labels in the database that training it again would learn from.
    pub learnable: u32,
    /// The taxonomy that took the place of the one it answers in, where that was left.
    pub left_for: Option<String>,
    /// The last days' answers beside those of its first days.
    pub corrections: Comparison,
    /// How the last days' answers differ from those of its first days; absent where either were few.
    pub drift: Option<Drift>,
    /// Everything since it stands where it does.
    pub tally: LiveTally,
    /// The accuracy it is meant to keep.
    pub target: f64,
    /// What it was trained on, and what is the base encoder now.
    pub base: Option<[String; 2]>,
    /// What its training took: rows and seconds.
    pub effort: Option<(usize, f64)>,
}

/// When a sign is a reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Days after which an adapter is old.
    pub most_days: i64,
    /// One-sided Fisher p-value below which corrections have become more frequent.
    pub p: f64,
    /// Fewest audited answers that say something.
    pub least_audited: u32,
    /// Share of its labels that came since, from which on they are worth learning.
    pub new_label_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most_days: 180, p: 0.01, least_audited: 50, new_label_share: 0.1 }
    }
}

/// A reason to train again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Its name.
    pub name: &'static str,
    /// In a sentence.
    pub says: String,
}

/// Whether to train again, with what, for what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Why; none is healthy.
    pub reasons: Vec<Reason>,
    /// Labels that training again would learn from: those in the database, without the ones that it keeps to compare and to
    /// calibrate on.
    pub labels: u32,
    /// Accuracy of live answers, from those drawn at random; absent without any.
    pub audited: Option<Share>,
    /// How far the audited accuracy lies below the target: what training again could bring at the least, in
    /// `[0, 1]`; absent without audited answers.
    pub expected_gain: Option<f64>,
    /// Seconds of training at the pace of the last one; absent where that was not told.
    pub seconds: Option<f64>,
}

/// Reads the signs.
#[must_use]
pub fn diagnose(signs: &Signs, limits: Limits, now: DateTime<Utc>) -> Diagnosis {
    let mut reasons = Vec::new();
    let mut because = |name: &'static str, says: String| reasons.push(Reason { name, says });
    if let Some(now) = &signs.left_for {
        because("taxonomy", format!("its taxonomy was left for {now}: labels are in the words of that one"));
    }
    let days = (now - signs.registered_at).num_days();
    if days > limits.most_days {
        because("age", format!("it is {days} days old, more than {}", limits.most_days));
    }
    if signs.corrections.p < limits.p {
        let Comparison { now, reference, p } = signs.corrections;
        because(
            "corrections",
            format!(
                "people correct {} of {} answers now, and {} of {} when it was new (p = {p:.1e})",
                now.wrong, now.answered, reference.wrong, reference.answered
            ),
        );
    }
    if let Some(drift) = signs.drift.filter(|drift| drift.classes.max(drift.confidence) >= MOVED) {
        because(
            "drift",
            format!(
                "answers have moved since it was new (stability index {:.2} of categories, {:.2} of confidence; {MOVED} is \
                 stable): {:.1} % have unknown keys, {:+.1} points",
                drift.classes,
                drift.confidence,
                100.0 * drift.unknown,
                100.0 * drift.unknown_gain
            ),
        );
    }
    let LiveTally { audited, audited_wrong, .. } = signs.tally;
    let share = metrics::wilson((audited - audited_wrong) as usize, audited as usize);
    if let Some(share) = share.filter(|share| audited >= limits.least_audited && share.high < signs.target) {
        because(
            "audit",
            format!(
                "of {audited} answers drawn at random {:.1} % are right ({:.1} – {:.1}), and {:.1} are promised",
                100.0 * share.share,
                100.0 * share.low,
                100.0 * share.high,
                100.0 * signs.target
            ),
        );
    }
    if let Some([trained, present]) = signs.base.as_ref().filter(|[trained, present]| trained != present) {
        because("base", format!("the base encoder is {present:.8} now, and it was trained on {trained:.8}"));
    }
    if signs.new_labels > 0 && f64::from(signs.new_labels) >= limits.new_label_share * f64::from(signs.labels) {
        because("labels", format!("{} labels came since, and it learned from {}", signs.new_labels, signs.labels));
    }
    let labels = signs.learnable;
    let pace = signs.effort.filter(|(rows, _)| *rows > 0 && signs.labels > 0);
    Diagnosis {
        reasons,
        labels,
        audited: share,
        expected_gain: share.map(|share| (signs.target - share.share).max(0.0)),
        seconds: pace.map(|(_, seconds)| seconds * f64::from(labels) / f64::from(signs.labels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::drift::Period;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn healthy() -> Signs {
        let usual = LiveTally { answered: 1_000, judged: 20, wrong: 10, audited: 200, audited_wrong: 8 };
        Signs {
            registered_at: at("2026-01-01T00:00:00Z"),
            labels: 12_000,
            new_labels: 300,
            learnable: 12_300,
            left_for: None,
            corrections: Comparison::of(usual, usual),
            drift: Some(Drift::between(&period(100), &period(100))),
            tally: usual,
            target: 0.92,
            base: Some(["aa".to_owned(), "aa".to_owned()]),
            effort: Some((36_000, 180.0)),
        }
    }

    /// 1,000 answers, some to unknown keys.
    fn period(unknown: u32) -> Period {
        let mut period = Period::default();
        (0..1_000).for_each(|n| period.add("food", 0.95, n >= unknown));
        period
    }

    fn reasons(signs: &Signs, now: &str) -> Vec<&'static str> {
        diagnose(signs, Limits::default(), at(now)).reasons.iter().map(|reason| reason.name).collect()
    }

    #[test]
    fn a_healthy_adapter_gives_no_reason_and_every_sign_gives_its_own() {
        let soon = "2026-03-01T00:00:00Z";
        assert_eq!(reasons(&healthy(), soon), [""; 0]);
        assert_eq!(reasons(&healthy(), "2026-09-01T00:00:00Z"), ["age"]);
        let more = LiveTally { wrong: 40, ..healthy().tally };
        let corrections = Comparison::of(more, healthy().tally);
        assert_eq!(reasons(&Signs { corrections, ..healthy() }, soon), ["corrections"]);
        let drift = Some(Drift::between(&period(100), &period(400)));
        assert_eq!(reasons(&Signs { drift, ..healthy() }, soon), ["drift"]);
        let tally = LiveTally { audited_wrong: 30, ..healthy().tally };
        assert_eq!(reasons(&Signs { tally, ..healthy() }, soon), ["audit"]);
        let few = LiveTally { audited: 20, audited_wrong: 10, ..healthy().tally };
        assert_eq!(reasons(&Signs { tally: few, ..healthy() }, soon), [""; 0], "too few audited answers");
        let base = Some(["aa".to_owned(), "bb".to_owned()]);
        assert_eq!(reasons(&Signs { base, ..healthy() }, soon), ["base"]);
        assert_eq!(reasons(&Signs { new_labels: 1_300, ..healthy() }, soon), ["labels"]);
        let left_for = Some("consumer@1c39b0aa".to_owned());
        assert_eq!(reasons(&Signs { left_for, ..healthy() }, soon), ["taxonomy"]);
    }

    #[test]
    fn a_plan_says_what_there_is_to_gain_and_what_it_takes() {
        let tally = LiveTally { audited_wrong: 30, ..healthy().tally };
        let found =
            diagnose(&Signs { tally, learnable: 6_000, ..healthy() }, Limits::default(), at("2026-02-01T00:00:00Z"));
        assert_eq!(found.labels, 6_000, "what it learned from is not in the database for that");
        assert!((found.expected_gain.unwrap() - 0.07).abs() < 1e-9);
        assert!((found.seconds.unwrap() - 90.0).abs() < 1e-9);
    }
}
