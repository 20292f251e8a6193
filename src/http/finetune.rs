//! Word from a provider that a fine-tuning job moved. It is signed by the provider, and so needs no key of ours.
//!
//! Nothing it says is trusted but the job's name: the job is marked, and whoever polls asks the provider itself.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{error::Error, error::Problem, state::AppState};
use crate::{clock, signature::Signed};

/// What a provider says.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Notice {
    /// What happened, such as `fine_tuning.job.succeeded`; other kinds are passed over.
    #[serde(rename = "type")]
    kind: String,
    /// To what.
    data: NoticeData,
}

/// What a notice is about.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NoticeData {
    /// The provider's name of it.
    id: String,
}

/// Marks a fine-tuning job as one to look at again. Signed as Standard Webhooks has it: `webhook-id`,
/// `webhook-timestamp` and `webhook-signature`.
#[utoipa::path(
    post,
    path = "/v1/finetune/webhook",
    tag = "finetune",
    request_body = Notice,
    responses(
        (status = 204, description = "Heard"),
        (status = 401, description = "Not signed with the secret of this deployment, or too old", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of this shape", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Error> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: &body,
    };
    let secret = state.webhook_secret.as_ref().ok_or(Error::Unsigned)?;
    if !signed.holds(secret.expose(), clock::now()) {
        return Err(Error::Unsigned);
    }
    let notice: Notice = serde_json::from_slice(&body)
        .map_err(|_| Error::Shape { pointer: None, detail: "must have `type` and `data.id`".to_owned() })?;
    if notice.kind.starts_with("fine_tuning.job.") {
        state.store.mark_finetune_job(&notice.data.id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
