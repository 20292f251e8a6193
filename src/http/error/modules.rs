//! What whoever asked learns of the errors of other modules, one exhaustive match each.

use axum::http::StatusCode;

use super::{Missing, Problem};
use crate::{adapters, advise, enrich, events, pipeline, recategorize, review, store};

pub(super) fn of_pipeline(error: &pipeline::Error) -> Problem {
    match error {
        pipeline::Error::UnknownAdapter { .. } => {
            Problem::unknown_adapter(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
                .at(Some("/adapter".to_owned()))
        }
        pipeline::Error::Store(error) | pipeline::Error::Enrich(enrich::Error::Store(error)) => of_store(error),
        pipeline::Error::Categorize(error) if error.is_outage() => {
            Problem::model_unavailable("the rows are stored and not categorized yet: post them again a little later")
        }
        pipeline::Error::Categorize(_)
        | pipeline::Error::Vanished
        | pipeline::Error::Broken
        | pipeline::Error::Enrich(enrich::Error::Build(_) | enrich::Error::Model(_)) => Problem::internal(),
    }
}

pub(super) fn of_events(error: &events::Error) -> Problem {
    match error {
        events::Error::Url(refusal) => Problem::invalid_body(Some("/url"), refusal.to_string()),
        events::Error::Ahead { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "event-ahead",
            "The feed has not come so far",
            error.to_string(),
        )
        .at(Some("/after".to_owned())),
        events::Error::Store(error) => of_store(error),
        events::Error::Client(_) | events::Error::Message(_) => Problem::internal(),
    }
}

pub(super) fn of_recategorize(error: &recategorize::Error) -> Problem {
    use recategorize::Error as E;
    let (conflict, detail) = (StatusCode::CONFLICT, error.to_string());
    match error {
        E::Unknown { .. } => Missing::Recategorization.problem(detail),
        E::Scope(_) => Problem::invalid_body(Some("/scope"), detail),
        E::UnknownTaxonomy { .. } | E::SameTaxonomy { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-mapping", "The mapping can't be used", detail)
                .at(Some("/from".to_owned()))
        }
        E::Mapping { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-mapping", "The mapping can't be used", detail)
                .at(Some("/map".to_owned()))
        }
        E::NeverAnswered { .. } => Problem::new(conflict, "never-answered", "Rows have no answer yet", detail),
        E::NoMigration { .. } | E::Concluded { .. } => Problem::new(conflict, "phase", "The run is not there", detail),
        E::Phase { .. } => Problem::new(conflict, "phase", "The run is not there", detail),
        E::LeftTaxonomy { .. } => Problem::new(conflict, "left-taxonomy", "The taxonomy was left", detail),
        E::OtherEngines { .. } => Problem::new(conflict, "other-engines", "Others answer now", detail),
        E::Overtaken { .. } => Problem::new(conflict, "moved", "Somebody else was faster", detail),
        E::Refused { .. } => Problem::new(conflict, "guards-refuse", "The guards refuse", detail),
        E::Outage { .. } => Problem::model_unavailable(detail),
        E::Pipeline(error) => of_pipeline(error),
        E::Store(error) => of_store(error),
        E::Diff(_) => Problem::internal(),
    }
}

pub(super) fn of_adapters(error: &adapters::Error) -> Problem {
    use adapters::Error as E;
    let (status, detail) = (StatusCode::CONFLICT, error.to_string());
    match error {
        E::Unknown { .. } => Problem::unknown_adapter(StatusCode::NOT_FOUND, detail),
        E::Share { .. } => Problem::invalid_body(Some("/share"), detail),
        E::NoWay { .. } | E::OnlyChampion { .. } | E::OtherCanary { .. } | E::NoPredecessor { .. } => {
            Problem::new(status, "no-way", "The adapter can't go there", detail)
        }
        E::NoGate { .. } => Problem::new(status, "no-gate", "Not measured yet", detail),
        E::GateShut { .. } => Problem::new(status, "gate-shut", "The promotion gate is shut", detail),
        E::Moved { .. } => Problem::new(status, "moved", "Somebody else was faster", detail),
        E::Store(error) => of_store(error),
        E::Model(_)
        | E::Categorize(_)
        | E::File { .. }
        | E::Name { .. }
        | E::Registered { .. }
        | E::Report(_)
        | E::Fitted { .. }
        | E::NoChampion { .. }
        | E::Stopped => Problem::internal(),
    }
}

pub(super) fn of_review(error: &review::Error) -> Problem {
    use review::Error as E;
    let detail = error.to_string();
    let conflict = |kind, title, detail| Problem::new(StatusCode::CONFLICT, kind, title, detail);
    match error {
        E::UnknownTransaction => Missing::Transaction.problem(detail),
        E::UnknownAction => Problem::new(StatusCode::NOT_FOUND, "unknown-decision", "No such decision", detail),
        E::UnknownMerchant { .. } => {
            Problem::new(StatusCode::NOT_FOUND, "unknown-merchant", "No such merchant", detail)
        }
        E::SameMerchant => conflict("same-merchant", "One merchant already", detail),
        E::AlreadyDecided => conflict("already-decided", "Nothing waits here", detail),
        E::NotClaimed { .. } => conflict("not-claimed", "Not yours", detail),
        E::Outdated { .. } => conflict("preview-outdated", "The rows have changed", detail),
        E::AlreadyUndone => conflict("already-undone", "Taken back already", detail),
        E::LeftTaxonomy { .. } => conflict("left-taxonomy", "The taxonomy was left", detail),
        E::NotAsked => conflict("not-asked", "Not yours", detail),
        E::OffTaxonomy { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "off-taxonomy", "Not a category of this deployment", detail)
                .at(Some("/category".to_owned()))
        }
        E::Store(error) => of_store(error),
        E::Csv(_) | E::Json(_) => Problem::internal(),
    }
}

pub(super) fn of_advice(error: &advise::Error) -> Problem {
    use advise::Error as E;
    match error {
        E::TooMany { .. }
        | E::TooManyOptions { .. }
        | E::NoMonths
        | E::SameName { .. }
        | E::NoAccuracy { .. }
        | E::EmptyBill { .. }
        | E::NoSpeed { .. }
        | E::NoCadence { .. }
        | E::UnknownGuide { .. }
        | E::OtherCurrency { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-scenario",
            "The scenario contradicts itself",
            error.to_string(),
        ),
        E::Costs(_) | E::NoCosts { .. } | E::Toml(_) | E::Json(_) => Problem::internal(),
    }
}

pub(super) fn of_store(error: &store::Error) -> Problem {
    match error {
        store::Error::Unavailable(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database-unavailable",
            "The database is not available",
            "nothing is lost by sending the same request again",
        ),
        store::Error::Incomplete(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database-incomplete",
            "The database lacks what this version expects",
            "whoever runs the service learns from `txcat doctor` what to restore; nothing is lost by sending the same request again",
        ),
        store::Error::Text(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-text",
            "A text holds what no text may",
            "nothing stored has the character U+0000, and nothing can be looked for by it",
        ),
        store::Error::Constraint { .. }
        | store::Error::Corrupt { .. }
        | store::Error::Migrate(_)
        | store::Error::MigrateQueue(_)
        | store::Error::Queue(_)
        | store::Error::Sqlx(_) => Problem::internal(),
    }
}
