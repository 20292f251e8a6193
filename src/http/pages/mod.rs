//! The pages: each handler asks what the API asks, and renders it for people.
//!
//! A person signs in once and has a cookie; changes go through the JSON API, with the secret that the page
//! carries in its head. Nothing is loaded from elsewhere, which the content security policy enforces.

mod accuracy;
mod detail;
mod jobs;
mod life;
mod lists;
mod merchants;
mod oidc;
mod queue;
mod rows;
mod second;
mod sign_in;
mod told;

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{Path, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Serialize;

use super::{
    error::{Error, Problem},
    extract::Who,
    scopes::{Need, Routes},
};
use crate::{
    access::{Caller, Scope},
    web,
};

pub(super) use jobs::{AtRest, Progress as Job, listed as listed_jobs};
pub use oidc::CALLBACK as OIDC_CALLBACK;
pub(super) use sign_in::{CameFrom, session_token};

/// The header in which a page sends the session's second secret.
pub(super) const CSRF: &str = "x-csrf-token";

/// Only what this process serves; no script and no style in the page itself; in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds every page.
pub(super) fn add(routes: Routes) -> Routes {
    let page = Need::Page;
    routes
        .add_page(page(Scope::Read), Method::GET, "/", get(home))
        .add_page(page(Scope::Review), Method::GET, "/review", get(queue::show))
        .add_page(page(Scope::Review), Method::GET, "/review/list", get(queue::list))
        .add_page(page(Scope::Review), Method::GET, "/review/detail", get(detail::show))
        .add_page(page(Scope::Review), Method::GET, "/review/preview", get(detail::preview))
        .add_page(page(Scope::Review), Method::GET, "/review/second", get(second::show))
        .add_page(page(Scope::Read), Method::GET, "/accuracy", get(accuracy::show))
        .add_page(page(Scope::Read), Method::GET, "/accuracy/numbers.csv", get(rows::numbers))
        .add_page(page(Scope::Read), Method::GET, "/accuracy/rows", get(rows::show))
        .add_page(page(Scope::Read), Method::GET, "/transactions", get(lists::transactions))
        .add_page(page(Scope::Read), Method::GET, "/transactions/{id}", get(life::show))
        .add_page(page(Scope::Read), Method::GET, "/merchants", get(merchants::list))
        .add_page(page(Scope::Read), Method::GET, "/merchants/one", get(merchants::show))
        .add_page(page(Scope::Read), Method::GET, "/adapters", get(lists::adapters))
        .add_page(page(Scope::Read), Method::GET, "/datasets", get(lists::datasets))
        .add_page(page(Scope::Read), Method::GET, "/jobs", get(jobs::show))
        .add_page(page(Scope::Read), Method::GET, "/jobs/live", get(super::live::jobs))
        .add_page(page(Scope::Read), Method::GET, "/jobs/recategorizations/{id}", get(jobs::recategorization))
        .add_page(page(Scope::Read), Method::GET, "/advice", get(lists::advice))
        .add_page(Need::Open, Method::GET, "/assets/{name}", get(asset))
        .add_page(Need::Open, Method::GET, super::scopes::SIGN_IN, get(sign_in::show))
        .add_page(Need::Open, Method::POST, super::scopes::SIGN_IN, axum::routing::post(sign_in::sign_in))
        .add_page(Need::Open, Method::GET, oidc::BEGIN, get(oidc::begin))
        .add_page(Need::Open, Method::GET, oidc::CALLBACK, get(oidc::finish))
        .add_page(Need::Open, Method::POST, "/sign-out", axum::routing::post(sign_in::sign_out))
}

/// What every page shows of the person who looks at it.
#[derive(Serialize)]
struct Looker<'a> {
    name: &'a str,
    csrf: &'a str,
    reviews: bool,
    signed_in: bool,
}

impl<'a> From<&'a Caller> for Looker<'a> {
    fn from(caller: &'a Caller) -> Self {
        Self {
            name: caller.name(),
            csrf: caller.csrf().unwrap_or_default(),
            reviews: caller.may(Scope::Review),
            signed_in: caller.csrf().is_some(),
        }
    }
}

/// A page with what surrounds it.
#[derive(Serialize)]
struct Page<'a, T> {
    looker: Option<Looker<'a>>,
    #[serde(flatten)]
    content: T,
}

/// A field of a form that holds what can't be looked for.
#[derive(Debug, Serialize)]
struct Refused {
    field: &'static str,
    why: String,
}

/// What a field of a form asks for: nothing where it is empty.
fn asked<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<Option<T>, Refused> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error| Refused { field, why: format!("“{text}” {error}") }),
    }
}

/// Renders a page for somebody.
fn page(name: &'static str, caller: &Caller, content: impl Serialize) -> Result<Response, Error> {
    Ok(framed(web::render(name, Page { looker: Some(caller.into()), content })?))
}

/// Renders a part of a page, which a script puts in its place.
fn part(name: &'static str, content: impl Serialize) -> Result<Response, Error> {
    Ok(framed(web::render(name, content)?))
}

/// What every page and part is sent with.
fn framed(html: String) -> Response {
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What somebody sees who may not see a page.
pub(super) fn refused(caller: &Caller, scope: Scope) -> Result<Response, Error> {
    #[derive(Serialize)]
    struct Refused {
        scope: &'static str,
    }
    let mut response = page("refused.html", caller, Refused { scope: scope.as_str() })?;
    *response.status_mut() = StatusCode::FORBIDDEN;
    Ok(response)
}

/// Shows refusals as pages to those who ask for pages; programs and scripts get the JSON.
pub(super) async fn refusals(request: Request, next: Next) -> Response {
    let accepted = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_person = accepted.is_some_and(|accept| accept.contains("text/html"));
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>().filter(|_| is_person) else { return response };
    let Ok(html) = web::render("problem.html", Page { looker: None, content: &problem }) else { return response };
    let mut shown = framed(html);
    *shown.status_mut() = problem.status();
    shown
}

/// Where somebody's work begins.
async fn home(Who(caller): Who) -> Redirect {
    Redirect::to(if caller.may(Scope::Review) { "/review" } else { "/accuracy" })
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let found = web::ASSETS.iter().find(|(asset, ..)| *asset == name).ok_or(Error::UnknownRoute)?;
    let version = format!("\"{:x}\"", xxhash_rust::xxh3::xxh3_64(found.2.as_bytes()));
    let same = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == version.as_bytes());
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, found.1)], found.2).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(version) = HeaderValue::from_str(&version) {
        headers.insert(header::ETAG, version);
    }
    Ok(response)
}
