//! Every way a request can fail, and the one match that turns it into `application/problem+json`.
//!
//! The caller learns what it can change. Causes within the service are logged here, once, and never
//! sent.

mod modules;
mod problem;

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

pub use problem::Problem;

use super::{idempotency, limits};
use crate::{
    access,
    access::{Scope, Standing},
    adapters, advise,
    causes::with_causes,
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
    /// Something of ours that can't be written as JSON, or read back.
    #[error("what is stored or answered as JSON can't be written or read back")]
    Json(#[from] serde_json::Error),
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
    #[error("{}", .0.detail())]
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
    /// An answer could not be written.
    #[error("the answer could not be written")]
    Unwritten(#[source] Box<dyn std::error::Error + Send + Sync>),
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

impl Error {
    /// An answer that could not be written.
    pub(super) fn unwritten(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unwritten(cause.into())
    }

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
            Self::Events(error) => modules::of_events(error),
            Self::Unknown(missing) => missing.problem(detail),
            Self::Tracker(tracker::Error::Unknown { .. }) => Missing::Run.problem(detail),
            Self::Tracker(tracker::Error::Apart { .. }) => {
                Problem::new(S::UNPROCESSABLE_ENTITY, "runs-apart", "Nothing to compare", detail)
            }
            Self::Tracker(tracker::Error::Empty { .. }) => {
                Problem::new(S::UNPROCESSABLE_ENTITY, "empty-run", "Nothing to show", detail)
            }
            Self::Tracker(tracker::Error::Store(error)) => modules::of_store(error),
            Self::NoLabels => Problem::new(S::UNPROCESSABLE_ENTITY, "no-labels", "Nothing to learn from", detail),
            Self::NotJson => Problem::new(S::UNSUPPORTED_MEDIA_TYPE, "media-type", "Not JSON", detail),
            Self::Encoded => Problem::new(S::UNSUPPORTED_MEDIA_TYPE, "content-encoding", "Compressed", detail),
            Self::BodyTooLarge { .. } => Problem::new(S::PAYLOAD_TOO_LARGE, "too-large", "Body too large", detail),
            Self::BodyUnreadable => Problem::new(S::BAD_REQUEST, "unreadable", "Body can't be read", detail),
            Self::Syntax { line, column } => {
                Problem::new(S::BAD_REQUEST, "syntax", "Not valid JSON", detail).broken_at(*line, *column)
            }
            Self::Shape { pointer, .. } => Problem::invalid_body(pointer.as_deref(), detail),
            Self::Row(problem) => Problem::clone(problem),
            Self::Query { .. } => Problem::new(S::BAD_REQUEST, "query", "The query can't be read", detail),
            Self::Access(error) => match error {
                access::Error::NoKey | access::Error::InvalidKey => {
                    Problem::new(S::UNAUTHORIZED, "unauthenticated", "Who is asking?", detail)
                }
                access::Error::Store(error) => modules::of_store(error),
                access::Error::TooManyRequests { .. } => {
                    Problem::new(S::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
                }
                access::Error::QuotaSpent { .. } => {
                    Problem::new(S::TOO_MANY_REQUESTS, "quota-spent", "The day's rows are spent", detail)
                }
                access::Error::Locked { .. } => {
                    Problem::new(S::TOO_MANY_REQUESTS, "sign-in-locked", "Signing in is locked", detail)
                }
                access::Error::Exposed { .. } | access::Error::NameTaken | access::Error::NoRandom => {
                    Problem::internal()
                }
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
            Self::Review(error) => modules::of_review(error),
            Self::Page(_) | Self::Json(_) | Self::Unwritten(_) | Self::Panicked => Problem::internal(),
            Self::Undeclared => Problem::new(S::FORBIDDEN, "undeclared-scope", "Closed route", detail),
            Self::ForeignHost => Problem::new(S::MISDIRECTED_REQUEST, "foreign-host", "Wrong host", detail),
            Self::Timeout { .. } => Problem::new(S::SERVICE_UNAVAILABLE, "timeout", "Took too long", detail),
            Self::Store(error) => modules::of_store(error),
            Self::Adapters(error) => modules::of_adapters(error),
            Self::Advise(error) => modules::of_advice(error),
            Self::Recategorize(error) => modules::of_recategorize(error),
            Self::Pipeline(error) => modules::of_pipeline(error),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.status().is_server_error() {
            tracing::error!(error = %with_causes(&self), problem = %problem.kind(), "a request failed");
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
