//! Which scope a route needs, declared where the route is added; nothing else opens one.
//!
//! [`Routes`] is the only way to add a route, and takes a [`Need`] with it. The guard looks the
//! matched route up in what was declared: a route that came in another way is closed to everyone.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, uri::PathAndQuery},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Redirect, Response},
    routing::MethodRouter,
};
use subtle::ConstantTimeEq as _;
use utoipa::openapi::{OpenApi, SecurityRequirement};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{error::Error, idempotency, limits, openapi, pages, state::AppState};
use crate::{
    access::{self, Access, Caller, Scope},
    clock,
    store::Store,
};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: health and documentation.
    Open,
    /// A signature that the handler checks, of a sender that has no key.
    Signed,
    /// A key or a session with this scope.
    Scope(Scope),
    /// The same, of a person: who is not signed in is led there.
    Page(Scope),
}

/// Where people sign in.
pub(super) const SIGN_IN: &str = "/sign-in";

/// Routes, each added together with its need.
pub(super) struct Routes {
    router: OpenApiRouter<AppState>,
    declared: Declared,
}

/// What was declared, by path.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared(BTreeMap<String, Vec<(Method, Need)>>);

impl Declared {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Method, Need)> {
        self.0.iter().flat_map(|(path, methods)| methods.iter().map(|(method, need)| (path.as_str(), method, *need)))
    }

    fn add(&mut self, path: &str, method: Method, need: Need) {
        self.0.entry(path.to_owned()).or_default().push((method, need));
    }
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { router: OpenApiRouter::with_openapi(openapi::document()), declared: Declared::default() }
    }

    /// Adds documented handlers of one path.
    pub(super) fn add(mut self, need: Need, (schemas, mut paths, methods): UtoipaMethodRouter<AppState>) -> Self {
        for (path, item) in &mut paths.paths {
            for (method, operation) in openapi::operations(item) {
                self.declared.add(path, method.clone(), need);
                if let Need::Scope(scope) = need {
                    operation.security = Some(vec![SecurityRequirement::new(openapi::SCHEME, [scope.as_str()])]);
                    openapi::describe_refusals(operation);
                    if method == Method::POST {
                        openapi::describe_idempotency(operation);
                    }
                }
            }
        }
        Self { router: self.router.routes((schemas, paths, methods)), ..self }
    }

    /// Adds routes that only people look at, which the document does not describe.
    pub(super) fn add_pages(mut self, paths: &[&str], pages: impl FnOnce(OpenApi) -> Router<AppState>) -> Self {
        for path in paths {
            self.declared.add(path, Method::GET, Need::Open);
        }
        let document = self.router.get_openapi().clone();
        Self { router: self.router.merge(OpenApiRouter::from(pages(document))), ..self }
    }

    /// Adds a page of the desk, or what a page needs; the document does not describe them.
    pub(super) fn add_page(mut self, need: Need, method: Method, path: &str, page: MethodRouter<AppState>) -> Self {
        self.declared.add(path, method, need);
        Self { router: self.router.route(path, page), ..self }
    }

    /// What was declared.
    pub(super) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// The router with the guard around every route, and within it what keeps to idempotency keys.
    pub(super) fn guarded(self, access: Arc<Access>, store: Store) -> Router<AppState> {
        let gate = Gate { access, declared: Arc::new(self.declared) };
        let (router, _) = self.router.split_for_parts();
        router.route_layer(from_fn_with_state(store, idempotency::once)).route_layer(from_fn_with_state(gate, guard))
    }
}

#[derive(Clone)]
struct Gate {
    access: Arc<Access>,
    declared: Arc<Declared>,
}

async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Result<Response, Error> {
    let path = request.extensions().get::<MatchedPath>().ok_or(Error::Undeclared)?;
    let methods = gate.declared.0.get(path.as_str()).ok_or(Error::Undeclared)?;
    let asked = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let mut standing = None;
    match methods.iter().find(|(method, _)| method == asked) {
        // No handler has this method: the router says so.
        None | Some((_, Need::Signed)) => {}
        Some((_, Need::Open)) => refuse_forged(request.method(), request.headers())?,
        Some((_, Need::Scope(scope))) => {
            let caller = gate.caller(request.method(), request.headers()).await?;
            standing = gate.access.count(&caller)?;
            if !caller.may(*scope) {
                return Err(Error::MissingScope { scope: *scope });
            }
            request.extensions_mut().insert(caller);
        }
        Some((_, Need::Page(scope))) => match gate.caller(request.method(), request.headers()).await {
            Ok(caller) if caller.may(*scope) => {
                standing = gate.access.count(&caller)?;
                request.extensions_mut().insert(caller);
            }
            Ok(caller) => return pages::refused(&caller, *scope),
            Err(Error::Access(access::Error::NoKey | access::Error::InvalidKey)) => {
                let page = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
                return Ok(Redirect::to(&pages::CameFrom::page(page, request.headers()).sign_in()).into_response());
            }
            Err(error) => return Err(error),
        },
    }
    let mut response = next.run(request).await;
    if let Some(standing) = standing {
        limits::tell(response.headers_mut(), &standing);
    }
    Ok(response)
}

impl Gate {
    /// Who is asking: by a key, by a session, or as the local admin.
    async fn caller(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Error> {
        if let Some(key) = headers.get(header::AUTHORIZATION) {
            return Ok(self.access.authenticate(Some(key.to_str().unwrap_or_default()), clock::now()).await?);
        }
        refuse_forged(method, headers)?;
        if let Some(token) = pages::session_token(headers) {
            match self.access.session(token, clock::now()).await {
                Ok(caller) => {
                    let sent = headers.get(pages::CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
                    let ours = caller.csrf().map(str::as_bytes).unwrap_or_default();
                    // In a time that tells nothing of how much of it is right.
                    let same = !ours.is_empty() && bool::from(sent.ct_eq(ours));
                    return if method.is_safe() || same { Ok(caller) } else { Err(Error::Forged) };
                }
                // It has ended: as without one.
                Err(access::Error::InvalidKey) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.access.is_open() && !from_this_machine(headers) {
            return Err(Error::ForeignHost);
        }
        Ok(self.access.authenticate(None, clock::now()).await?)
    }
}

/// Refuses a change that a page elsewhere makes a browser send. Requests without an origin come from no browser.
fn refuse_forged(method: &Method, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let same = origin.split_once("://").is_some_and(|(_, place)| Some(place) == text(header::HOST));
    if method.is_safe() || same { Ok(()) } else { Err(Error::Forged) }
}

/// Whether the request names this machine by a loopback name. A page elsewhere can make a browser
/// send requests here under the page's own name (DNS rebinding), and where no key is needed that
/// would be all it takes. Requests without a host come from no browser.
pub(super) fn from_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_this_machine() {
        let from = |host: &str| from_this_machine(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]));
        assert!(from("127.0.0.1:8080") && from("localhost") && from("LOCALHOST:1") && from("[::1]:8080"));
        assert!(!from("evil.example:8080") && !from("10.0.0.1") && !from("127.0.0.1.evil.example") && !from(""));
    }
}
