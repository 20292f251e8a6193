//! The closed sets of codes in the API, for the OpenAPI document. Values are written and read by
//! `domain`; a test holds the two together.

use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};

const DIRECTIONS: &[&str] = &["debit", "credit"];
const STATUSES: &[&str] = &["pending", "posted"];
const CHANNELS: &[&str] =
    &["card_present", "card_not_present", "transfer", "direct_debit", "standing_order", "cash", "cheque", "bank"];
const DECIDED_BY: &[&str] = &["correction", "import", "account_rule", "merchant_rule", "stage"];
const REVIEW_STATUSES: &[&str] = &["accepted", "pending", "reviewed"];
const REVIEW_REASONS: &[&str] = &[
    "low_confidence",
    "not_calibrated",
    "unanswered",
    "suspicious",
    "broken_promise",
    "audit",
    "complaint",
    "disagreement",
    "rule_withdrawn",
    "split",
    "drift",
];
const CONFIDENCE_LEVELS: &[&str] = &["low", "medium", "high", "very_high"];
const SCOPES: &[&str] = &["transaction", "account_merchant", "merchant"];
const LANES: &[&str] = &["doubtful", "audit", "escalated"];
const ACTIONS: &[&str] = &["decide", "undo", "skip", "escalate", "rename", "categorize", "merge"];
const READINESS: &[&str] = &["ok", "failing"];
const SUSPICIONS: &[&str] = &["instruction", "role", "json", "boundary", "invisible", "lookalike", "encoded"];
const ADAPTER_STATES: &[&str] = &["candidate", "shadow", "canary", "champion", "retired"];
const CHECK_LEVELS: &[&str] = &["pass", "info", "warn", "block"];

fn one_of(codes: &[&str]) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.iter().copied())).into()
}

/// One of the codes, or `null`.
pub(super) fn or_null(codes: Schema) -> Schema {
    OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Null)).item(codes).into()
}

pub(super) fn direction() -> Schema {
    one_of(DIRECTIONS)
}

pub(super) fn status() -> Schema {
    one_of(STATUSES)
}

pub(super) fn channel() -> Schema {
    one_of(CHANNELS)
}

pub(super) fn decided_by() -> Schema {
    one_of(DECIDED_BY)
}

pub(super) fn review_status() -> Schema {
    one_of(REVIEW_STATUSES)
}

pub(super) fn review_reason() -> Schema {
    one_of(REVIEW_REASONS)
}

pub(super) fn review_reason_or_null() -> Schema {
    or_null(review_reason())
}

pub(super) fn confidence_level() -> Schema {
    one_of(CONFIDENCE_LEVELS)
}

pub(super) fn correction_scope() -> Schema {
    one_of(SCOPES)
}

pub(super) fn lane() -> Schema {
    one_of(LANES)
}

pub(super) fn action_kind() -> Schema {
    one_of(ACTIONS)
}

pub(super) fn readiness() -> Schema {
    one_of(READINESS)
}

/// A list of suspicions.
pub(super) fn suspicions() -> Schema {
    ArrayBuilder::new().items(RefOr::T(one_of(SUSPICIONS))).into()
}

pub(super) fn adapter_state() -> Schema {
    one_of(ADAPTER_STATES)
}

pub(super) fn check_level() -> Schema {
    one_of(CHECK_LEVELS)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Display, str::FromStr};

    use super::*;
    use crate::domain::{
        ActionKind, ConfidenceLevel, CorrectionScope, DecidedBy, Direction, Lane, ReviewReason, ReviewStatus,
        injection::Suspicion,
        transaction::{Channel, InvalidText, Status},
    };

    /// `domain` lists all codes in the refusal of a wrong one: exactly the documented ones.
    fn agree<T: FromStr<Err = InvalidText> + Display>(codes: &[&str]) {
        for code in codes {
            assert_eq!(&code.parse::<T>().unwrap_or_else(|_| panic!("{code}")).to_string(), code);
        }
        let Err(refusal) = "no such code".parse::<T>() else { panic!("a wrong code was taken") };
        let (last, others) = codes.split_last().unwrap();
        assert_eq!(refusal.to_string(), format!("must be {} or {last}", others.join(", ")));
    }

    #[test]
    fn the_documented_codes_are_the_ones_of_the_domain() {
        agree::<Direction>(DIRECTIONS);
        agree::<Status>(STATUSES);
        agree::<Channel>(CHANNELS);
        agree::<DecidedBy>(DECIDED_BY);
        agree::<ReviewStatus>(REVIEW_STATUSES);
        agree::<ReviewReason>(REVIEW_REASONS);
        agree::<ConfidenceLevel>(CONFIDENCE_LEVELS);
        agree::<CorrectionScope>(SCOPES);
        agree::<Lane>(LANES);
        agree::<ActionKind>(ACTIONS);
    }

    #[test]
    fn the_documented_suspicions_are_the_ones_of_the_domain() {
        let refusal = serde_json::from_value::<Suspicion>("no such code".into()).unwrap_err().to_string();
        let listed = SUSPICIONS.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        assert_eq!(refusal, format!("unknown variant `no such code`, expected one of {listed}"));
    }
}
