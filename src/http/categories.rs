//! The taxonomy in force, and while a change of it is tried the one before.

use std::collections::HashSet;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer::CategoryOut, error::Error, state::AppState};
use crate::domain::{Category, Slug};

/// The closed set of categories, and its version.
#[derive(Serialize, ToSchema)]
pub(super) struct Categories<'a> {
    /// The version that predictions name.
    #[schema(value_type = String, example = "consumer@8f14e45f")]
    taxonomy: &'a str,
    /// In the taxonomy's own order.
    categories: Vec<CategoryOut<'a>>,
    /// The taxonomy before, while a change of it is tried: what `shadow_category` of a transaction names; left out at other
    /// times.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowCategories<'a>>,
}

/// The closed set of categories before a change, and its version.
#[derive(Serialize, ToSchema)]
pub(super) struct ShadowCategories<'a> {
    /// The version that `shadow_taxonomy` names.
    #[schema(value_type = String, example = "consumer@8f14e45f")]
    taxonomy: &'a str,
    /// In the taxonomy's own order.
    categories: Vec<CategoryOut<'a>>,
}

/// Every category of the taxonomy in force.
#[utoipa::path(get, path = "/v1/categories", tag = "taxonomy", responses((status = 200, body = Categories<'static>)))]
pub(super) async fn list(State(state): State<AppState>) -> Result<Response, Error> {
    let taxonomy = &state.taxonomy;
    let before = state.store.shadow_taxonomy().await?;
    let shadow =
        before.as_ref().map(|of| ShadowCategories { taxonomy: &of.version, categories: shown(&of.categories) });
    let categories = shown(taxonomy.categories());
    Ok(Json(Categories { taxonomy: taxonomy.version(), categories, shadow }).into_response())
}

/// A category without details can be assigned, any other can't.
fn shown(categories: &[Category]) -> Vec<CategoryOut<'_>> {
    let parents: HashSet<&Slug> = categories.iter().filter_map(|category| category.parent.as_ref()).collect();
    categories.iter().map(|category| CategoryOut::new(category, !parents.contains(&category.slug))).collect()
}
