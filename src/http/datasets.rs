//! Labelled sets made of what people said, and what the label gate found about them.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    codes,
    error::{Error, Missing, Problem},
    extract::{JsonText, Limit, Named, Params, Thing, Who},
    state::AppState,
};
use crate::{
    clock,
    curate::{self, Check, Flag, LabelReport, LabelledSet, Level, around, record, report},
    domain::transaction::InvalidText,
    store::StoredDataset,
};

/// Labels of one set at most: more would not be checked within a request's time.
const MOST_LABELS: u32 = 20_000;

/// What to call the set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDataset)]
pub(super) struct NewDataset {
    /// 1 to 100 characters. The same labels under the same name are the same set.
    #[schema(value_type = String, min_length = 1, max_length = 100, example = "corrections-2026-03")]
    name: Name,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        match text.chars().count() {
            _ if text.trim().is_empty() => Err(InvalidText::Empty),
            101.. => Err(InvalidText::TooLong { max: 100 }),
            _ if text.chars().any(char::is_control) => Err(InvalidText::Control),
            _ => Ok(Self(text)),
        }
    }
}

/// A labelled set, and whether it passed.
#[derive(Serialize, ToSchema)]
pub(super) struct Dataset {
    id: i64,
    name: String,
    /// `folder` for one that was checked on the command line, `store` for one made of stored labels.
    source: String,
    taxonomy: String,
    /// Labelled rows looked at.
    rows: i32,
    /// Of them, how many were erased since.
    erased_rows: i64,
    made_by: String,
    made_at: DateTime<Utc>,
    /// Whether no check of the latest report blocks.
    passed: bool,
    /// Rows that the latest check kept out.
    quarantined: i32,
    checked_at: DateTime<Utc>,
}

impl From<StoredDataset> for Dataset {
    fn from(stored: StoredDataset) -> Self {
        let StoredDataset {
            id,
            name,
            source,
            taxonomy,
            rows,
            erased_rows,
            made_by,
            made_at,
            passed,
            quarantined,
            checked_at,
        } = stored;
        Self { id, name, source, taxonomy, rows, erased_rows, made_by, made_at, passed, quarantined, checked_at }
    }
}

impl Thing for StoredDataset {
    type Id = i64;

    fn unknown() -> Error {
        Missing::Dataset.into()
    }
}

/// A labelled set with everything that was found about it.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckedDataset {
    dataset: Dataset,
    report: ReportOut,
}

/// All that was found about a labelled set.
#[derive(Serialize, ToSchema)]
#[schema(as = LabelReport)]
struct ReportOut {
    data_set: String,
    taxonomy: String,
    /// Labelled rows looked at.
    rows: usize,
    /// Rows that could not be read.
    refused: usize,
    /// Rows that are kept out of what passes.
    quarantined: usize,
    passed: bool,
    /// SHA-256 of the manifest.
    manifest: String,
    checks: Vec<CheckOut>,
    classes: Vec<ClassOut>,
}

/// What one check came to.
#[derive(Serialize, ToSchema)]
#[schema(as = LabelCheck)]
struct CheckOut {
    #[schema(example = "label_errors")]
    name: String,
    #[schema(schema_with = codes::check_level)]
    level: Level,
    /// The finding in a sentence.
    says: String,
    /// The numbers behind it; shares are in 0 to 1.
    values: Vec<ValueOut>,
    /// How many rows are behind it.
    rows: usize,
    /// The first of those rows.
    flags: Vec<FlagOut>,
}

/// One number that a check came to.
#[derive(Serialize, ToSchema)]
#[schema(as = LabelCheckValue)]
struct ValueOut {
    name: String,
    value: f64,
}

/// A row behind a finding.
#[derive(Serialize, ToSchema)]
#[schema(as = FlaggedRow)]
struct FlagOut {
    id: String,
    /// Its line in the file; `null` for a stored transaction.
    #[schema(required)]
    line: Option<u64>,
    /// The label it carries.
    #[schema(required)]
    category: Option<String>,
    /// What is wrong with it.
    says: String,
    /// Whether it is kept out of what passes.
    quarantined: bool,
}

/// One category's labels.
#[derive(Serialize, ToSchema)]
#[schema(as = LabelledClass)]
struct ClassOut {
    category: String,
    rows: usize,
    /// Labels that are probably wrong.
    suspects: usize,
    /// Estimated share of wrong labels; `null` where there are too few to say.
    #[schema(required)]
    noise: Option<f64>,
}

impl From<LabelReport> for ReportOut {
    fn from(found: LabelReport) -> Self {
        let LabelReport { data_set, taxonomy, rows, refused, quarantined, passed, manifest, checks, classes } = found;
        let class = |class: report::ClassLine| ClassOut {
            category: class.category,
            rows: class.rows,
            suspects: class.suspects,
            noise: class.noise,
        };
        let checks = checks.into_iter().map(CheckOut::from).collect();
        let classes = classes.into_iter().map(class).collect();
        Self { data_set, taxonomy, rows, refused, quarantined, passed, manifest, checks, classes }
    }
}

impl From<Check> for CheckOut {
    fn from(Check { name, level, says, values, rows, flags }: Check) -> Self {
        let value = |report::Value { name, value }| ValueOut { name, value };
        let flag = |Flag { id, line, category, says, quarantined, .. }: Flag| FlagOut {
            id,
            line,
            category,
            says,
            quarantined,
        };
        let (values, flags) = (values.into_iter().map(value).collect(), flags.into_iter().map(flag).collect());
        Self { name, level, says, values, rows, flags }
    }
}

/// Makes a labelled set of what people said: corrections, and labels that came with imported data,
/// newest transactions first, at most 20,000. Checks it, and stores both.
///
/// A set that does not pass is stored too, with what blocks it.
#[utoipa::path(
    post,
    path = "/v1/datasets",
    tag = "datasets",
    request_body = NewDataset,
    responses(
        (status = 201, body = CheckedDataset),
        (status = 413, description = "More than 4 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not of this shape, or nobody has labelled anything", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn make(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Json<CheckedDataset>), Error> {
    let NewDataset { name } = body.parse()?;
    let now = clock::now();
    let rows = state.store.labelled(MOST_LABELS).await?;
    if rows.is_empty() {
        return Err(Error::NoLabels);
    }
    let traffic = state.store.traffic(now - TimeDelta::days(around::DAYS)).await?;
    let taxonomy = state.taxonomy.clone();
    let (set, outcome) = tokio::task::spawn_blocking(move || {
        let set = LabelledSet::of_store(name.0, taxonomy, rows);
        let outcome = curate::check(&set, &[], Some(&traffic), curate::Settings::default());
        (set, outcome)
    })
    .await
    .map_err(|_| Error::Panicked)?;
    let stored = record::of_store(&set, &outcome, caller.name(), now)?;
    let id = state.store.insert_dataset(&stored.dataset, &stored.report, &stored.items).await?;
    let stored = state.store.dataset(id).await?.ok_or_else(StoredDataset::unknown)?;
    let report = outcome.report.into();
    Ok((StatusCode::CREATED, Json(CheckedDataset { dataset: stored.dataset.into(), report })))
}

/// How many sets to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DatasetQuery {
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
}

/// Labelled sets.
#[derive(Serialize, ToSchema)]
pub(super) struct Datasets {
    /// Newest first.
    datasets: Vec<Dataset>,
}

/// Every labelled set that was checked, on the command line or here.
#[utoipa::path(
    get,
    path = "/v1/datasets",
    tag = "datasets",
    params(DatasetQuery),
    responses((status = 200, body = Datasets))
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<DatasetQuery>,
) -> Result<Json<Datasets>, Error> {
    let datasets = state.store.datasets(query.limit.get()).await?;
    Ok(Json(Datasets { datasets: datasets.into_iter().map(Into::into).collect() }))
}

/// One labelled set with its latest report.
#[utoipa::path(
    get,
    path = "/v1/datasets/{id}",
    tag = "datasets",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = CheckedDataset),
        (status = 404, description = "No such set", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<AppState>,
    Named(id): Named<StoredDataset>,
) -> Result<Json<CheckedDataset>, Error> {
    Ok(Json(checked(&state, id).await?))
}

/// One labelled set with its latest report.
pub(super) async fn checked(state: &AppState, id: i64) -> Result<CheckedDataset, Error> {
    let stored = state.store.dataset(id).await?.ok_or_else(StoredDataset::unknown)?;
    let report: LabelReport = serde_json::from_value(stored.report)?;
    Ok(CheckedDataset { dataset: stored.dataset.into(), report: report.into() })
}
