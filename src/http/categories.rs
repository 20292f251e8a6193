//! The taxonomy in force.

use axum::{Json, extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer::CategoryOut, state::AppState};

/// The closed set of categories, and its version.
#[derive(Serialize, ToSchema)]
pub(super) struct Categories<'a> {
    /// The version that predictions name.
    #[schema(value_type = String, example = "consumer@8f14e45f")]
    taxonomy: &'a str,
    /// In the taxonomy's own order.
    categories: Vec<CategoryOut<'a>>,
}

/// Every category of the taxonomy in force.
#[utoipa::path(get, path = "/v1/categories", tag = "taxonomy", responses((status = 200, body = Categories<'static>)))]
pub(super) async fn list(State(state): State<AppState>) -> impl IntoResponse {
    let taxonomy = &state.taxonomy;
    let categories = taxonomy.categories().iter();
    let categories =
        categories.map(|category| CategoryOut::new(category, taxonomy.index_of(&category.slug).is_some())).collect();
    Json(Categories { taxonomy: taxonomy.version(), categories }).into_response()
}
