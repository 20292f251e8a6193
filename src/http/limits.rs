//! What a key has left, in headers (draft-ietf-httpapi-ratelimit-headers-10): `RateLimit-Policy` is what it may, `RateLimit` what is
//! left of it and in how many seconds all of it is back.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::access::Standing;

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Puts it into an answer.
pub(super) fn tell(headers: &mut HeaderMap, standing: &Standing) {
    let Standing { limit, left, reset } = standing;
    let reset = reset.as_secs_f64().ceil();
    let policy = HeaderValue::try_from(format!("\"requests\";q={limit};w=60"));
    let left = HeaderValue::try_from(format!("\"requests\";r={left};t={reset}"));
    if let (Ok(policy), Ok(left)) = (policy, left) {
        headers.insert(POLICY.clone(), policy);
        headers.insert(LEFT.clone(), left);
    }
}
