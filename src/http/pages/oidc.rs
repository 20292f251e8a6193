//! Signing in by a provider: away to its page, and back with what `access` makes a session of.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    super::{error::Error, state::AppState},
    Page, framed,
    sign_in::{SignIn, find_cookie, form, of_session, secure, with_cookie},
};
use crate::{
    access::{self, OidcError, Returned, SESSION, UNDER_WAY},
    causes::with_causes,
    clock, web,
};

/// Where a sign-in begins.
pub(super) const BEGIN: &str = "/sign-in/oidc";

/// Where the provider sends people back to.
pub const CALLBACK: &str = "/sign-in/oidc/callback";

/// The cookie that ties a sign-in to the browser that began it.
const COOKIE: &str = "txcat_oidc";

/// What the provider sends along.
#[derive(Deserialize)]
pub(super) struct Sent {
    code: Option<String>,
    #[serde(default)]
    state: String,
}

pub(super) async fn begin(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Error> {
    let oidc = state.oidc.clone().ok_or(Error::UnknownRoute)?;
    match oidc.begin(&state.access, &mut access::random()?, clock::now()).await {
        Ok(begun) => {
            let cookie = of_sign_in(&begun.state, UNDER_WAY.num_seconds(), secure(&state, &headers));
            Ok(with_cookie(Redirect::to(&begun.url).into_response(), &cookie))
        }
        Err(error) => refused(&state, error),
    }
}

pub(super) async fn finish(
    State(state): State<AppState>,
    headers: HeaderMap,
    sent: Result<Query<Sent>, QueryRejection>,
) -> Result<Response, Error> {
    let oidc = state.oidc.clone().ok_or(Error::UnknownRoute)?;
    let Ok(Query(sent)) = sent else { return refused(&state, OidcError::Stale) };
    let returned = Returned { code: sent.code.as_deref(), state: &sent.state, kept: find_cookie(&headers, COOKIE) };
    let secure = secure(&state, &headers);
    let response = match oidc.finish(&state.access, returned, &mut access::random()?, clock::now()).await {
        Ok(session) => with_cookie(onward()?, &of_session(session.reveal(), SESSION.num_seconds(), secure)),
        Err(error) => refused(&state, error)?,
    };
    Ok(with_cookie(response, &of_sign_in("", 0, secure)))
}

/// A page that leads on by itself. A redirect would belong to a visit that the provider's site began, and browsers send no session
/// along there (`SameSite=Strict`).
fn onward() -> Result<Response, Error> {
    #[derive(Serialize)]
    struct SignedIn {}
    Ok(framed(web::render("signed_in.html", Page { looker: None, content: SignedIn {} })?))
}

/// The page to sign in at, with why nobody came in.
fn refused(state: &AppState, error: OidcError) -> Result<Response, Error> {
    let status = match &error {
        OidcError::Access(_) => StatusCode::INTERNAL_SERVER_ERROR,
        OidcError::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
        OidcError::Stale => StatusCode::BAD_REQUEST,
        OidcError::Refused | OidcError::Unbelievable(_) | OidcError::Nobody { .. } => StatusCode::FORBIDDEN,
    };
    let refused = Some(error.to_string());
    match error {
        OidcError::Access(error) => return Err(error.into()),
        OidcError::Nobody { whom } => {
            return form(state, status, SignIn { refused, subject: Some(whom.subject), ..SignIn::default() });
        }
        OidcError::Unreachable(_) | OidcError::Unbelievable(_) => {
            tracing::warn!(error = %with_causes(&error), "signing in by the provider failed");
        }
        OidcError::Stale | OidcError::Refused => {}
    }
    form(state, status, SignIn { refused, ..SignIn::default() })
}

/// Sent back to the pages of signing in alone, also from the provider's site, and read by no script.
fn of_sign_in(state: &str, seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={state}; Path={BEGIN}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}
