//! Notices that accuracy has fallen, mostly without gold labels: ok, drifting or fallen.
//!
//! Drifting is a warning that answers or keys have changed, fallen needs the evidence of audited rows. Pure: counts
//! in, verdict out, so that a file's quarters and a service's weeks are watched alike.

use serde::{Deserialize, Serialize};

use super::drift::{Audit, Drift, Estimate, MOVED, Period, Reference};

/// A fall of so much below the target is what the sequential test is quickest to find.
const FALL: f64 = 0.04;
/// Chance of calling a period fallen whose accuracy is the target's.
const ALPHA: f64 = 0.05;

/// What the watch says of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing speaks against the target.
    Ok,
    /// Something has changed, or the target is in doubt.
    Drifting,
    /// The audits say, with 95 % certainty, that accuracy is below the target.
    Fallen,
}

impl State {
    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Drifting => "drifting",
            Self::Fallen => "fallen",
        }
    }
}

/// Why a period is not ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The answers are spread over the categories otherwise than in the reference.
    Classes,
    /// More keys are unknown, or confidences have moved.
    Confidence,
    /// With the reference's accuracy for known and unknown keys, so many unknown ones miss the target.
    Expected,
    /// The audit's estimate is below the target.
    Audit,
    /// Its one-sided upper bound is, too.
    Bound,
    /// The audits of several periods together are evidence enough.
    Sequence,
}

impl Cause {
    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Confidence => "confidence",
            Self::Expected => "expected",
            Self::Audit => "audit",
            Self::Bound => "bound",
            Self::Sequence => "sequence",
        }
    }

    fn state(self) -> State {
        match self {
            Self::Classes | Self::Confidence | Self::Expected | Self::Audit => State::Drifting,
            Self::Bound | Self::Sequence => State::Fallen,
        }
    }
}

/// What the watch says, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The state: the worst that a cause gives.
    pub state: State,
    /// Why.
    pub causes: Vec<Cause>,
    /// Against the reference.
    pub drift: Drift,
    /// Accuracy expected without a label; see [`Reference::expects`].
    pub expected: f64,
    /// Accuracy estimated from the audit, where there was one.
    pub estimate: Option<Estimate>,
}

/// Looks at one period after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Accuracy that was promised, in `(0, 1)`.
    pub target: f64,
    /// What periods are compared with.
    pub reference: Reference,
    /// Evidence of a fall that the audits so far have gathered: a log likelihood ratio, never below 0.
    pub evidence: f64,
}

impl Watch {
    /// A watch that has seen no period yet.
    #[must_use]
    pub fn new(target: f64, reference: Reference) -> Self {
        Self { target, reference, evidence: 0.0 }
    }

    /// Looks at the next period.
    pub fn see(&mut self, now: &Period, audit: &Audit) -> Verdict {
        let drift = Drift::between(&self.reference.period, now);
        let expected = self.reference.expects(now);
        let estimate = audit.estimate(now);
        let limit = (1.0 / ALPHA).ln();
        // Page's test: each audited answer weighs for a fall or for the target, and the past is forgotten when
        // it speaks for the target. Kept at the limit, so that a recovery is seen as fast as a fall.
        let fallen = (self.target - FALL).max(0.01);
        let wrong = (audit.rows - audit.right) as f64 * ((1.0 - fallen) / (1.0 - self.target)).ln();
        let right = audit.right as f64 * (fallen / self.target).ln();
        self.evidence = (self.evidence + wrong + right).clamp(0.0, limit);
        let causes = [
            (Cause::Classes, drift.classes >= MOVED),
            (Cause::Confidence, drift.confidence >= MOVED),
            (Cause::Expected, expected < self.target),
            (Cause::Audit, estimate.is_some_and(|of| of.share < self.target)),
            (Cause::Bound, estimate.is_some_and(|of| of.at_most < self.target)),
            (Cause::Sequence, self.evidence >= limit),
        ];
        let causes: Vec<Cause> = causes.into_iter().filter(|(_, holds)| *holds).map(|(cause, _)| cause).collect();
        let state = causes.iter().map(|cause| cause.state()).max().unwrap_or(State::Ok);
        Verdict { state, causes, drift, expected, estimate }
    }
}

#[cfg(test)]
mod tests;
