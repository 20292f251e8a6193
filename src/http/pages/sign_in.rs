//! Signing in and out: a key becomes a cookie that no script reads and no other site sends along.

use axum::{
    Form,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        error::Error,
        scopes::{SIGN_IN, from_this_machine},
        state::AppState,
    },
    Page, framed,
};
use crate::{
    access::{self, SESSION},
    clock, web,
};

/// The cookie's name.
const COOKIE: &str = "txcat_session";

#[derive(Serialize)]
struct SignIn {
    failed: bool,
    locked: Option<String>,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Told {
    key: String,
}

/// The session's secret in a request's cookies.
pub(in super::super) fn session_token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

pub(super) async fn show() -> Result<Response, Error> {
    form(SignIn { failed: false, locked: None })
}

fn form(content: SignIn) -> Result<Response, Error> {
    Ok(framed(web::render("sign_in.html", Page { looker: None, content })?))
}

pub(super) async fn sign_in(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(told): Form<Told>,
) -> Result<Response, Error> {
    match state.access.sign_in(&told.key, &mut access::random()?, clock::now()).await {
        Ok(session) => {
            let cookie = cookie(session.reveal(), SESSION.num_seconds(), secure(&state, &headers));
            Ok(with_cookie(Redirect::to("/").into_response(), &cookie))
        }
        Err(access::Error::InvalidKey) => {
            let mut response = form(SignIn { failed: true, locked: None })?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(error @ access::Error::Locked { .. }) => {
            let mut response = form(SignIn { failed: false, locked: Some(error.to_string()) })?;
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn sign_out(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Error> {
    if let Some(token) = session_token(&headers) {
        state.access.sign_out(token).await?;
    }
    Ok(with_cookie(Redirect::to(SIGN_IN).into_response(), &cookie("", 0, secure(&state, &headers))))
}

/// Whether a cookie must never go without TLS: always but for a loopback name without a certificate.
fn secure(state: &AppState, headers: &HeaderMap) -> bool {
    state.tls.is_some() || !from_this_machine(headers)
}

/// Sent back to this site alone, and read by no script.
fn cookie(token: &str, seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let of = |text: &str| session_token(&headers(header::COOKIE, text)).map(str::to_owned);
        assert_eq!(of("a=1; txcat_session=0a1b; b=2").as_deref(), Some("0a1b"));
        assert_eq!(of("txcat_session2=no; not_txcat_session=no"), None);
    }

    #[test]
    fn a_cookie_says_what_it_needs() {
        let plain = "txcat_session=t; Path=/; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(cookie("t", 60, false), plain);
        assert_eq!(cookie("t", 60, true), format!("{plain}; Secure"));
    }
}
