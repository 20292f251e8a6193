//! Signing in and out: a key becomes a cookie that no script reads and no other site sends along.

use axum::{
    Form,
    extract::{Query, State, rejection::QueryRejection},
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

/// What the page shows.
#[derive(Default, Serialize)]
pub(super) struct SignIn {
    /// A key was tried, and opens nothing.
    pub(super) failed: bool,
    /// A key was tried that is locked: until when.
    pub(super) locked: Option<String>,
    /// Why the provider let nobody in.
    pub(super) refused: Option<String>,
    /// What the provider calls somebody who is nobody here.
    pub(super) subject: Option<String>,
    /// The provider, where there is one.
    pub(super) issuer: Option<String>,
    /// What brought somebody here.
    pub(super) from: CameFrom,
}

/// What brought somebody to the page: another one, which they see next, and whether they were signed in before.
#[derive(Default, Serialize, Deserialize)]
pub(in super::super) struct CameFrom {
    next: Option<String>,
    ended: Option<bool>,
}

impl CameFrom {
    /// From a page of this service.
    pub(in super::super) fn page(next: &str, headers: &HeaderMap) -> Self {
        Self { next: Some(next.to_owned()), ended: session_token(headers).map(|_| true) }
    }

    /// The address of the page to sign in on.
    pub(in super::super) fn sign_in(&self) -> String {
        serde_urlencoded::to_string(self).map_or_else(|_| SIGN_IN.to_owned(), |query| format!("{SIGN_IN}?{query}"))
    }

    /// Where they go then: to a path of this service and nowhere else.
    fn next(&self) -> &str {
        let local = |next: &&str| {
            let mut bytes = next.bytes();
            bytes.next() == Some(b'/')
                && !matches!(bytes.next(), Some(b'/' | b'\\'))
                && next.bytes().all(|b| b.is_ascii_graphic())
        };
        self.next.as_deref().filter(local).unwrap_or("/")
    }
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Told {
    key: String,
    next: Option<String>,
}

/// The session's secret in a request's cookies.
pub(in super::super) fn session_token(headers: &HeaderMap) -> Option<&str> {
    find_cookie(headers, COOKIE)
}

/// What a cookie holds.
pub(super) fn find_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
}

pub(super) async fn show(
    State(state): State<AppState>,
    from: Result<Query<CameFrom>, QueryRejection>,
) -> Result<Response, Error> {
    let from = from.map(|Query(from)| from).unwrap_or_default();
    form(&state, StatusCode::OK, SignIn { from, ..SignIn::default() })
}

/// The page, with what it has to say.
pub(super) fn form(state: &AppState, status: StatusCode, content: SignIn) -> Result<Response, Error> {
    let issuer = state.oidc.as_ref().map(|oidc| oidc.issuer().to_owned());
    let content = SignIn { issuer, ..content };
    let mut response = framed(web::render("sign_in.html", Page { looker: None, content })?);
    *response.status_mut() = status;
    Ok(response)
}

pub(super) async fn sign_in(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(told): Form<Told>,
) -> Result<Response, Error> {
    let from = CameFrom { next: told.next, ended: None };
    match state.access.sign_in(&told.key, &mut access::random()?, clock::now()).await {
        Ok(session) => {
            let cookie = of_session(session.reveal(), SESSION.num_seconds(), secure(&state, &headers));
            Ok(with_cookie(Redirect::to(from.next()).into_response(), &cookie))
        }
        Err(access::Error::InvalidKey) => {
            form(&state, StatusCode::UNPROCESSABLE_ENTITY, SignIn { failed: true, from, ..SignIn::default() })
        }
        Err(error @ access::Error::Locked { .. }) => {
            let locked = Some(error.to_string());
            form(&state, StatusCode::TOO_MANY_REQUESTS, SignIn { locked, from, ..SignIn::default() })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn sign_out(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Error> {
    if let Some(token) = session_token(&headers) {
        state.access.sign_out(token).await?;
    }
    Ok(with_cookie(Redirect::to(SIGN_IN).into_response(), &of_session("", 0, secure(&state, &headers))))
}

/// Whether a cookie must never go without TLS: always but for a loopback name without a certificate.
pub(super) fn secure(state: &AppState, headers: &HeaderMap) -> bool {
    state.tls.is_some() || !from_this_machine(headers)
}

/// Sent back to this site alone, and read by no script.
pub(super) fn of_session(token: &str, seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
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
    fn nobody_is_sent_to_another_site() {
        let next = |next: &str| CameFrom { next: Some(next.to_owned()), ended: None }.next().to_owned();
        assert_eq!(next("/accuracy?run=6&with=5"), "/accuracy?run=6&with=5");
        for elsewhere in ["", "accuracy", "//bank.example", "/\\bank.example", "https://bank.example", "/a\r\nb", "/ a"]
        {
            assert_eq!(next(elsewhere), "/", "{elsewhere:?}");
        }
    }

    #[test]
    fn a_cookie_says_what_it_needs() {
        let plain = "txcat_session=t; Path=/; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(of_session("t", 60, false), plain);
        assert_eq!(of_session("t", 60, true), format!("{plain}; Secure"));
    }
}
