//! Which lever to pull next: the same as `txcat advise --json` prints.

use axum::{Json, extract::State};

use super::{
    error::{Error, Problem},
    extract::JsonText,
    state::AppState,
};
use crate::{
    advise::{self, Advice, Costs, Known, Looking, Scenario},
    clock,
};

/// Advice on a scenario: six questions with their evidence, options with what they cost and bring, what would change the
/// decision, and what is still asked.
///
/// A scenario that says nothing of `today` is about this deployment: accuracy comes from its eval runs, good labels from
/// the label gate, volume and tokens from the last 30 days; `{}` asks for advice on what is known alone.
#[utoipa::path(
    post,
    path = "/v1/advice",
    tag = "advice",
    request_body = Scenario,
    responses(
        (status = 200, body = Advice),
        (status = 413, description = "More than 4 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not of this shape, or it contradicts itself", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn give(State(state): State<AppState>, body: JsonText) -> Result<Json<Advice>, Error> {
    Ok(Json(advised(&state, body.parse()?).await?))
}

/// Advice on a scenario, with what this deployment knows.
pub(super) async fn advised(state: &AppState, scenario: Scenario) -> Result<Advice, Error> {
    let (costs, now) = (Costs::compiled_in()?, clock::now());
    let known = if scenario.today.is_some() {
        Known::default()
    } else {
        let stage = state.pipeline.lineup().champion().clone();
        let looking = Looking {
            serving: &stage.name,
            engine: Some(stage.engine()),
            taxonomy: state.taxonomy.version(),
            currency: scenario.currency.unwrap_or(costs.currency),
            price: None,
        };
        Known::read(&state.store, looking, now).await?
    };
    let advice = tokio::task::spawn_blocking(move || advise::advise(scenario, &known, &costs, now.date_naive()));
    Ok(advice.await.map_err(|_| Error::Panicked)??)
}
