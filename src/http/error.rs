//! Every way a request can fail, and the one match that turns it into `application/problem+json`.
//!
//! The caller learns what it can change. Causes within the service are logged here, once, and never
//! sent.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{idempotency, limits, rows::RefusedRow};
use crate::{
    access,
    access::{Scope, Standing},
    adapters, advise,
    causes::with_causes,
    enrich,
    evaluate::tracker,
    events, pipeline, recategorize, review, store, web,
};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such path.
    #[error("there is no such route")]
    UnknownRoute,
    /// The path is there, the method is not.
    #[error("the route does not take this method")]
    MethodNotAllowed,
    /// Nothing of that id.
    #[error(transparent)]
    Unknown(#[from] Missing),
    /// Stored runs can't be shown.
    #[error(transparent)]
    Tracker(#[from] tracker::Error),
    /// Nothing to make a labelled set of.
    #[error("nobody has labelled a transaction yet: correct some, or import labelled ones")]
    NoLabels,
    /// A label report that can't be written or read back.
    #[error("the label report is broken")]
    Report(#[source] serde_json::Error),
    /// Not sent as JSON.
    #[error("send the body as `content-type: application/json`")]
    NotJson,
    /// Sent compressed: a small body could unfold to any size.
    #[error("send the body as it is: compressed ones are not taken")]
    Encoded,
    /// More bytes than the route takes.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body ended early, or its transfer coding is broken.
    #[error("the body could not be read")]
    BodyUnreadable,
    /// Not JSON text.
    #[error("the body is not valid JSON")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// JSON, but of another shape.
    #[error("{detail}")]
    Shape {
        /// JSON pointer to the place, where one is known.
        pointer: Option<String>,
        /// What is wrong, in words for the caller.
        detail: String,
    },
    /// The only row of a call was refused.
    #[error("{}", .0.detail)]
    Row(Box<Problem>),
    /// The query string.
    #[error("{detail}")]
    Query {
        /// What is wrong, in words for the caller.
        detail: String,
    },
    /// Who is asking could not be told, or may not.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// A message that its sender did not sign.
    #[error("the signature is missing, wrong or too old")]
    Unsigned,
    /// The caller is known, and its key lacks the scope.
    #[error("this needs the scope `{scope}`")]
    MissingScope {
        /// The scope that the route declares.
        scope: Scope,
    },
    /// A route that was added without a scope.
    #[error("nobody may use this route: it declares no scope")]
    Undeclared,
    /// A page elsewhere that resolved its own name to this machine.
    #[error("this service listens on loopback and is reached by its loopback name alone")]
    ForeignHost,
    /// It took too long.
    #[error("the request took longer than {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// A bug.
    #[error("something broke")]
    Panicked,
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// The way of the transactions.
    #[error("the transactions could not be processed")]
    Pipeline(#[from] pipeline::Error),
    /// An adapter could not be moved.
    #[error(transparent)]
    Adapters(#[from] adapters::Error),
    /// Stored transactions could not be categorized anew.
    #[error(transparent)]
    Recategorize(#[from] recategorize::Error),
    /// An endpoint could not be made.
    #[error(transparent)]
    Events(#[from] events::Error),
    /// No advice can be given.
    #[error(transparent)]
    Advise(#[from] advise::Error),
    /// It can't be done at the desk.
    #[error(transparent)]
    Review(#[from] review::Error),
    /// A change that came with a cookie, from a page that is not ours.
    #[error("this change did not come from a page of this service: load the page again")]
    Forged,
    /// An idempotency key that can't be read.
    #[error("`idempotency-key` must come once and hold 1 to {} characters of ASCII", idempotency::LONGEST)]
    KeyMalformed,
    /// An idempotency key that another request has.
    #[error("this key was sent with another body: send a new one with what is new")]
    KeyReused,
    /// The first request with this idempotency key is under way.
    #[error("the first request with this key is still being answered: send it again a little later")]
    KeyPending,
    /// The answer to the first request with this idempotency key may have told of what was erased since.
    #[error("this was done, and what it was answered went with an account that was erased since: it is not done again")]
    KeyErased,
    /// Too many streams are open.
    #[error("too many streams are open: ask again and again instead")]
    TooManyStreams,
    /// A file could not be written.
    #[error("the file could not be written")]
    Unwritten,
    /// A page could not be made.
    #[error("the page could not be made")]
    Page(#[from] web::Error),
}

/// What there is none of under the id that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A transaction.
    #[error("there is no transaction with this id")]
    Transaction,
    /// Anything of an account.
    #[error("nothing of this account is here")]
    Account,
    /// A labelled set.
    #[error("there is no data set with this number")]
    Dataset,
    /// A recategorization.
    #[error("there is no recategorization with this number")]
    Recategorization,
    /// An endpoint.
    #[error("there is no webhook of this number")]
    Webhook,
    /// An eval run.
    #[error("there is no eval run with this number")]
    Run,
    /// A saved view.
    #[error("you have no view with this number")]
    View,
}

impl Missing {
    /// As whoever asked is told; `detail` in the words of who looked.
    fn problem(self, detail: String) -> Problem {
        let (kind, title) = match self {
            Self::Transaction => ("unknown-id", "No such transaction"),
            Self::Account => ("unknown-account", "No such account"),
            Self::Dataset => ("unknown-dataset", "No such data set"),
            Self::Recategorization => ("unknown-recategorization", "No such recategorization"),
            Self::Webhook => ("unknown-webhook", "No such webhook"),
            Self::Run => ("unknown-run", "No such eval run"),
            Self::View => ("unknown-view", "No such view"),
        };
        Problem::new(StatusCode::NOT_FOUND, kind, title, detail)
    }
}

/// RFC 9457 problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem; stable.
    #[serde(rename = "type")]
    #[schema(example = "urn:txcat:problem:invalid-row")]
    kind: Cow<'static, str>,
    /// The kind in words.
    title: Cow<'static, str>,
    /// HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// This occurrence in words.
    detail: String,
    /// JSON pointer (RFC 6901) into the request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/transactions/3/currency")]
    pointer: Option<String>,
    /// Where JSON text breaks off: line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Where JSON text breaks off: column in bytes, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:txcat:problem:{kind}").into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            pointer: None,
            line: None,
            column: None,
        }
    }

    fn at(self, pointer: Option<String>) -> Self {
        Self { pointer, ..self }
    }

    /// A row that could not be parsed.
    pub(super) fn refused_row(index: usize, row: &RefusedRow) -> Self {
        let pointer = pointer(index, row.member.as_deref());
        let detail = format!("{} {}", row.member.as_deref().map_or("the row".into(), quoted), row.reason);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-row", "The row can't be read", detail).at(Some(pointer))
    }

    /// A row whose id is taken by another content.
    pub(super) fn conflict(index: usize) -> Self {
        let detail = "a transaction with this id and other content is stored; to change a pending one, send the \
                      posted one under its own id with `replaces`";
        Self::new(StatusCode::CONFLICT, "conflict", "The id is taken", detail).at(Some(pointer(index, Some("id"))))
    }

    /// A row that replaces nothing.
    pub(super) fn replaces_unknown(index: usize) -> Self {
        let detail = "`replaces` names no pending transaction of this account";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "replaces-unknown", "Nothing to replace", detail)
            .at(Some(pointer(index, Some("replaces"))))
    }

    /// A row that replaces what is no longer, or never was, pending.
    pub(super) fn already_replaced(index: usize) -> Self {
        let detail = "`replaces` names a transaction that was replaced already";
        Self::new(StatusCode::CONFLICT, "already-replaced", "Can't be replaced", detail)
            .at(Some(pointer(index, Some("replaces"))))
    }

    /// The status as HTTP has it.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn quoted(member: &str) -> String {
    format!("`{member}`")
}

fn pointer(index: usize, member: Option<&str>) -> String {
    match member {
        Some(member) => format!("/transactions/{index}/{}", member.replace('~', "~0").replace('/', "~1")),
        None => format!("/transactions/{index}"),
    }
}

impl Error {
    /// The one place where an error becomes what the caller sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        use StatusCode as S;
        let detail = self.to_string();
        match self {
            Self::UnknownRoute => Problem::new(S::NOT_FOUND, "unknown-route", "No such route", detail),
            Self::MethodNotAllowed => Problem::new(S::METHOD_NOT_ALLOWED, "method", "Method not allowed", detail),
            Self::TooManyStreams => {
                Problem::new(S::SERVICE_UNAVAILABLE, "too-many-streams", "Too many streams", detail)
            }
            Self::Events(error) => events_problem(error),
            Self::Unknown(missing) => missing.problem(detail),
            Self::Tracker(tracker::Error::Unknown { .. }) => Missing::Run.problem(detail),
            Self::Tracker(tracker::Error::Apart { .. }) => {
                Problem::new(S::UNPROCESSABLE_ENTITY, "runs-apart", "Nothing to compare", detail)
            }
            Self::Tracker(tracker::Error::Empty { .. }) => {
                Problem::new(S::UNPROCESSABLE_ENTITY, "empty-run", "Nothing to show", detail)
            }
            Self::Tracker(tracker::Error::Store(error)) => store_problem(error),
            Self::NoLabels => Problem::new(S::UNPROCESSABLE_ENTITY, "no-labels", "Nothing to learn from", detail),
            Self::Report(_) => internal(),
            Self::NotJson => Problem::new(S::UNSUPPORTED_MEDIA_TYPE, "media-type", "Not JSON", detail),
            Self::Encoded => Problem::new(S::UNSUPPORTED_MEDIA_TYPE, "content-encoding", "Compressed", detail),
            Self::BodyTooLarge { .. } => Problem::new(S::PAYLOAD_TOO_LARGE, "too-large", "Body too large", detail),
            Self::BodyUnreadable => Problem::new(S::BAD_REQUEST, "unreadable", "Body can't be read", detail),
            Self::Syntax { line, column } => Problem {
                line: Some(*line),
                column: Some(*column),
                ..Problem::new(S::BAD_REQUEST, "syntax", "Not valid JSON", detail)
            },
            Self::Shape { pointer, .. } => {
                Problem::new(S::UNPROCESSABLE_ENTITY, "invalid-body", "The body is not of the documented shape", detail)
                    .at(pointer.clone())
            }
            Self::Row(problem) => Problem::clone(problem),
            Self::Query { .. } => Problem::new(S::BAD_REQUEST, "query", "The query can't be read", detail),
            Self::Access(error) => match error {
                access::Error::NoKey | access::Error::InvalidKey => {
                    Problem::new(S::UNAUTHORIZED, "unauthenticated", "Who is asking?", detail)
                }
                access::Error::Store(error) => store_problem(error),
                access::Error::TooManyRequests { .. } => {
                    Problem::new(S::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
                }
                access::Error::QuotaSpent { .. } => {
                    Problem::new(S::TOO_MANY_REQUESTS, "quota-spent", "The day's rows are spent", detail)
                }
                access::Error::Locked { .. } => {
                    Problem::new(S::TOO_MANY_REQUESTS, "sign-in-locked", "Signing in is locked", detail)
                }
                access::Error::Exposed { .. } | access::Error::NameTaken | access::Error::NoRandom => internal(),
            },
            Self::Unsigned => Problem::new(S::UNAUTHORIZED, "unsigned", "Not signed", detail),
            Self::MissingScope { .. } => Problem::new(S::FORBIDDEN, "missing-scope", "Missing scope", detail),
            Self::KeyMalformed => Problem::new(S::BAD_REQUEST, "idempotency-key", "Not an idempotency key", detail),
            Self::KeyReused => {
                Problem::new(S::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The key is taken", detail)
            }
            Self::KeyPending => Problem::new(S::CONFLICT, "idempotency-key-pending", "Being answered", detail),
            Self::KeyErased => Problem::new(S::GONE, "idempotency-key-erased", "The answer is erased", detail),
            Self::Forged => Problem::new(S::FORBIDDEN, "forged", "Not from here", detail),
            Self::Review(error) => review_problem(error),
            Self::Page(_) | Self::Unwritten => internal(),
            Self::Undeclared => Problem::new(S::FORBIDDEN, "undeclared-scope", "Closed route", detail),
            Self::ForeignHost => Problem::new(S::MISDIRECTED_REQUEST, "foreign-host", "Wrong host", detail),
            Self::Timeout { .. } => Problem::new(S::SERVICE_UNAVAILABLE, "timeout", "Took too long", detail),
            Self::Panicked => internal(),
            Self::Store(error) => store_problem(error),
            Self::Adapters(error) => adapter_problem(error),
            Self::Advise(error) => advice_problem(error),
            Self::Recategorize(error) => recategorize_problem(error),
            Self::Pipeline(error) => pipeline_problem(error),
        }
    }
}

fn pipeline_problem(error: &pipeline::Error) -> Problem {
    match error {
        pipeline::Error::UnknownAdapter { .. } => {
            unknown_adapter(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).at(Some("/adapter".to_owned()))
        }
        pipeline::Error::Store(error) | pipeline::Error::Enrich(enrich::Error::Store(error)) => store_problem(error),
        pipeline::Error::Categorize(error) if error.is_outage() => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "model-unavailable",
            "The model can't be had now",
            "the rows are stored and not categorized yet: post them again a little later".to_owned(),
        ),
        pipeline::Error::Categorize(_)
        | pipeline::Error::Vanished
        | pipeline::Error::Broken
        | pipeline::Error::Enrich(enrich::Error::Build(_) | enrich::Error::Model(_)) => internal(),
    }
}

fn events_problem(error: &events::Error) -> Problem {
    match error {
        events::Error::Url(refusal) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-body",
            "The body is not of the documented shape",
            refusal.to_string(),
        )
        .at(Some("/url".to_owned())),
        events::Error::Ahead { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "event-ahead",
            "The feed has not come so far",
            error.to_string(),
        )
        .at(Some("/after".to_owned())),
        events::Error::Store(error) => store_problem(error),
        events::Error::Client(_) | events::Error::Message(_) => internal(),
    }
}

fn recategorize_problem(error: &recategorize::Error) -> Problem {
    use recategorize::Error as E;
    let (conflict, detail) = (StatusCode::CONFLICT, error.to_string());
    match error {
        E::Unknown { .. } => Missing::Recategorization.problem(detail),
        E::Scope(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-body",
            "The body is not of the documented shape",
            detail,
        )
        .at(Some("/scope".to_owned())),
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
        E::Outage { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "model-unavailable", "The model can't be had now", detail)
        }
        E::Pipeline(error) => pipeline_problem(error),
        E::Store(error) => store_problem(error),
        E::Diff(_) => internal(),
    }
}

fn unknown_adapter(status: StatusCode, detail: String) -> Problem {
    Problem::new(status, "unknown-adapter", "No such adapter", detail)
}

fn adapter_problem(error: &adapters::Error) -> Problem {
    use adapters::Error as E;
    let (status, detail) = (StatusCode::CONFLICT, error.to_string());
    match error {
        E::Unknown { .. } => unknown_adapter(StatusCode::NOT_FOUND, detail),
        E::Share { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-body",
            "The body is not of the documented shape",
            detail,
        )
        .at(Some("/share".to_owned())),
        E::NoWay { .. } | E::OnlyChampion { .. } | E::OtherCanary { .. } | E::NoPredecessor { .. } => {
            Problem::new(status, "no-way", "The adapter can't go there", detail)
        }
        E::NoGate { .. } => Problem::new(status, "no-gate", "Not measured yet", detail),
        E::GateShut { .. } => Problem::new(status, "gate-shut", "The promotion gate is shut", detail),
        E::Moved { .. } => Problem::new(status, "moved", "Somebody else was faster", detail),
        E::Store(error) => store_problem(error),
        E::Model(_)
        | E::Categorize(_)
        | E::File { .. }
        | E::Name { .. }
        | E::Registered { .. }
        | E::Report(_)
        | E::Fitted { .. }
        | E::NoChampion { .. }
        | E::Stopped => internal(),
    }
}

fn review_problem(error: &review::Error) -> Problem {
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
        E::Store(error) => store_problem(error),
        E::Csv(_) | E::Json(_) => internal(),
    }
}

fn advice_problem(error: &advise::Error) -> Problem {
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
        E::Costs(_) | E::NoCosts { .. } | E::Toml(_) | E::Json(_) => internal(),
    }
}

fn store_problem(error: &store::Error) -> Problem {
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
        store::Error::Constraint { .. }
        | store::Error::Corrupt { .. }
        | store::Error::Migrate(_)
        | store::Error::MigrateQueue(_)
        | store::Error::Queue(_)
        | store::Error::Sqlx(_) => internal(),
    }
}

fn internal() -> Problem {
    let detail = "the cause is in the log, under the request id of this answer";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something broke here", detail)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.status().is_server_error() {
            tracing::error!(error = %with_causes(&self), problem = %problem.kind, "a request failed");
        }
        let mut response = problem.into_response();
        if let Self::Access(access::Error::TooManyRequests { limit, wait }) = &self {
            limits::tell(
                response.headers_mut(),
                &Standing { limit: *limit, left: 0, reset: Duration::from_secs(*wait) },
            );
        }
        if matches!(self, Self::KeyPending) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::Access(access::Error::TooManyRequests { wait, .. } | access::Error::QuotaSpent { wait, .. }) =
            &self
        {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*wait));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], body).into_response();
        response.extensions_mut().insert(self);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"txcat\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
