//! What a refused caller is sent: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::rows::RefusedRow;

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
    /// Of a kind.
    pub(super) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
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

    /// At a place in the body.
    pub(super) fn at(self, pointer: Option<String>) -> Self {
        Self { pointer, ..self }
    }

    /// Where JSON text breaks off.
    pub(super) fn broken_at(self, line: usize, column: usize) -> Self {
        Self { line: Some(line), column: Some(column), ..self }
    }

    /// A body of another shape than the documented one, at a place in it where one is known.
    pub(super) fn invalid_body(pointer: Option<&str>, detail: impl Into<String>) -> Self {
        let title = "The body is not of the documented shape";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", title, detail).at(pointer.map(str::to_owned))
    }

    /// No such adapter.
    pub(super) fn unknown_adapter(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "unknown-adapter", "No such adapter", detail)
    }

    /// A model that is out of reach for now.
    pub(super) fn model_unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "model-unavailable", "The model can't be had now", detail)
    }

    /// Something that only whoever runs the service can mend.
    pub(super) fn internal() -> Self {
        let detail = "the cause is in the log, under the request id of this answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something broke here", detail)
    }

    /// A row that could not be parsed.
    pub(in crate::http) fn refused_row(index: usize, row: &RefusedRow) -> Self {
        let pointer = pointer(index, row.member.as_deref());
        let detail = format!("{} {}", row.member.as_deref().map_or("the row".into(), quoted), row.reason);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-row", "The row can't be read", detail).at(Some(pointer))
    }

    /// A row whose id is taken by another content.
    pub(in crate::http) fn conflict(index: usize) -> Self {
        let detail = "a transaction with this id and other content is stored; to change a pending one, send the \
                      posted one under its own id with `replaces`";
        Self::new(StatusCode::CONFLICT, "conflict", "The id is taken", detail).at(Some(pointer(index, Some("id"))))
    }

    /// A row that replaces nothing.
    pub(in crate::http) fn replaces_unknown(index: usize) -> Self {
        let detail = "`replaces` names no pending transaction of this account";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "replaces-unknown", "Nothing to replace", detail)
            .at(Some(pointer(index, Some("replaces"))))
    }

    /// A row that replaces what is no longer, or never was, pending.
    pub(in crate::http) fn already_replaced(index: usize) -> Self {
        let detail = "`replaces` names a transaction that was replaced already";
        Self::new(StatusCode::CONFLICT, "already-replaced", "Can't be replaced", detail)
            .at(Some(pointer(index, Some("replaces"))))
    }

    /// The status as HTTP has it.
    pub(in crate::http) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its kind.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// This occurrence in words.
    pub(super) fn detail(&self) -> &str {
        &self.detail
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
