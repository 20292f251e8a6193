//! The JSON API, and the pages over it: one file per resource, each handler parses, calls and renders.
//!
//! It decides nothing about transactions: [`crate::pipeline`] does. Every route is added with the
//! scope it needs ([`Need`]), and every failure leaves through [`Error`] as `application/problem+json`.

mod accounts;
mod accuracy;
mod adapters;
mod advice;
mod answer;
mod categories;
mod codes;
mod datasets;
mod error;
mod eval_runs;
mod events;
mod extract;
mod finetune;
mod frame;
mod health;
mod idempotency;
mod limits;
mod live;
mod merchants;
mod metrics;
mod openapi;
mod pages;
mod recategorizations;
mod reviews;
mod rows;
mod scopes;
mod serve;
mod state;
mod tls;
mod transactions;
mod webhooks;

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Method,
    middleware::{from_fn, from_fn_with_state},
};
use tokio::net::TcpListener;
use utoipa_axum::routes;

pub use error::{Error, Missing, Problem};
pub use idempotency::KEPT as ANSWERS_KEPT;
pub use pages::OIDC_CALLBACK;
pub use scopes::Need;
pub use serve::DRAIN;
pub use state::AppState;
pub use tls::{Error as TlsError, Tls};
pub use transactions::read as transactions;

use crate::{access::Scope, clock};

/// Every route with what it needs.
fn api() -> scopes::Routes {
    let scope = Need::Scope;
    let routes = scopes::Routes::new()
        .add(scope(Scope::Ingest), routes!(transactions::send))
        .add(scope(Scope::Read), routes!(transactions::list))
        .add(scope(Scope::Read), routes!(transactions::show))
        .add(scope(Scope::Review), routes!(transactions::correct))
        .add(scope(Scope::Review), routes!(reviews::list))
        .add(scope(Scope::Review), routes!(reviews::desk::list))
        .add(scope(Scope::Review), routes!(reviews::desk::claim))
        .add(scope(Scope::Review), routes!(reviews::desk::release))
        .add(scope(Scope::Review), routes!(reviews::desk::skip))
        .add(scope(Scope::Review), routes!(reviews::desk::escalate))
        .add(scope(Scope::Ingest), routes!(reviews::desk::complain))
        .add(scope(Scope::Review), routes!(reviews::decisions::preview))
        .add(scope(Scope::Review), routes!(reviews::decisions::decide, reviews::trail::list))
        .add(scope(Scope::Review), routes!(reviews::decisions::undo))
        .add(scope(Scope::Review), routes!(reviews::decisions::claim_second))
        .add(scope(Scope::Review), routes!(reviews::decisions::second_label))
        .add(scope(Scope::Review), routes!(reviews::decisions::pairs))
        .add(scope(Scope::Review), routes!(reviews::trail::numbers))
        .add(scope(Scope::Review), routes!(live::reviews))
        .add(scope(Scope::Review), routes!(reviews::views::list, reviews::views::save))
        .add(scope(Scope::Review), routes!(reviews::views::forget))
        .add(scope(Scope::Review), routes!(reviews::trail::export))
        .add(scope(Scope::Review), routes!(reviews::trail::import))
        .add(scope(Scope::Read), routes!(merchants::list))
        .add(scope(Scope::Review), routes!(merchants::preview))
        .add(scope(Scope::Review), routes!(merchants::edit))
        .add(scope(Scope::Read), routes!(categories::list))
        .add(scope(Scope::Read), routes!(accuracy::show))
        .add(scope(Scope::Read), routes!(advice::give))
        .add(scope(Scope::Read), routes!(eval_runs::list))
        .add(scope(Scope::Read), routes!(eval_runs::compare))
        .add(scope(Scope::Read), routes!(eval_runs::show))
        .add(scope(Scope::Batch), routes!(datasets::make))
        .add(scope(Scope::Read), routes!(datasets::list))
        .add(scope(Scope::Read), routes!(datasets::show))
        .add(scope(Scope::Read), routes!(adapters::list))
        .add(scope(Scope::Read), routes!(adapters::show))
        .add(scope(Scope::Admin), routes!(adapters::moves::make_move))
        .add(scope(Scope::Admin), routes!(adapters::moves::take_back))
        .add(scope(Scope::Admin), routes!(adapters::moves::group))
        .add(scope(Scope::Batch), routes!(recategorizations::begin))
        .add(scope(Scope::Batch), routes!(recategorizations::begin_taxonomy))
        .add(scope(Scope::Read), routes!(recategorizations::list))
        .add(scope(Scope::Read), routes!(recategorizations::show))
        .add(scope(Scope::Read), routes!(recategorizations::changes))
        .add(scope(Scope::Batch), routes!(recategorizations::resume))
        .add(scope(Scope::Batch), routes!(recategorizations::apply))
        .add(scope(Scope::Batch), routes!(recategorizations::undo))
        .add(scope(Scope::Batch), routes!(recategorizations::cancel))
        .add(scope(Scope::Batch), routes!(recategorizations::conclude))
        .add(scope(Scope::Admin), routes!(accounts::erase))
        .add(scope(Scope::Admin), routes!(accounts::export))
        .add(scope(Scope::Read), routes!(events::list))
        .add(scope(Scope::Admin), routes!(webhooks::create, webhooks::list))
        .add(scope(Scope::Admin), routes!(webhooks::delete))
        .add(scope(Scope::Admin), routes!(webhooks::resume))
        .add(Need::Signed, routes!(finetune::webhook))
        .add(scope(Scope::Read), routes!(metrics::show))
        .add(Need::Open, routes!(health::alive))
        .add(Need::Open, routes!(health::ready))
        .add_pages(&openapi::PAGES, openapi::pages);
    pages::add(routes)
}

/// The whole API.
pub fn router(state: AppState) -> Router {
    let ids = Arc::new(frame::RequestIds::new(clock::now()));
    let framed = frame::Framed { ids, metrics: state.metrics.clone() };
    let routes = api().guarded(state.access.clone(), state.store.clone());
    routes
        .fallback(async || Error::UnknownRoute)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(extract::BODY_LIMIT))
        .layer(from_fn(pages::refusals))
        .layer(from_fn_with_state(framed, frame::frame))
        .with_state(state)
}

/// Every route with its method and what it needs, as the guard sees them.
#[must_use]
pub fn declared_routes() -> Vec<(Method, String, Need)> {
    api().declared().iter().map(|(path, method, need)| (method.clone(), path.to_owned(), need)).collect()
}

/// Serves until `stop` is done, then lets running requests finish. Over HTTPS where the state has a certificate.
///
/// A client may take its time for a header, and what runs may take its time once it is to stop, but neither for ever.
pub async fn serve(listener: TcpListener, state: AppState, stop: impl Future<Output = ()>) {
    let live = state.live.clone();
    let stop = async move {
        stop.await;
        live.stop();
    };
    let (tls, router, patience) = (state.tls.clone(), router(state), serve::Patience::default());
    match tls {
        None => serve::serve(listener, router, stop, patience).await,
        Some(tls) => serve::serve(tls::Secured::new(listener, tls), router, stop, patience).await,
    }
}
