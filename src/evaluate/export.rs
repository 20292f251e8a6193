//! Runs in the forms that other trackers read: a folder for promptfoo, a folder for MLflow.

use std::{fmt::Write as _, path::Path};

use serde_json::json;

use super::tracker::RunReport;
use crate::store::EvalItem;

/// Which tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracker {
    /// promptfoo: a configuration with the echo provider, which passes stored answers through, and a table of tests with
    /// `__expected`. `promptfoo eval -c promptfooconfig.json` asserts and `promptfoo view` shows them.
    Promptfoo,
    /// MLflow: a file store. `mlflow ui --backend-store-uri DIR` shows it, in its latest versions with
    /// `MLFLOW_ALLOW_FILE_STORE=true`; `mlflow migrate-filestore` takes it into a database.
    MlFlow,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path within the folder.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// The files of a run, to be written into `folder`, an absolute path.
///
/// # Errors
/// Never where memory suffices: nothing is written here.
pub fn files(report: &RunReport, items: &[EvalItem], tracker: Tracker, folder: &Path) -> Result<Vec<File>, csv::Error> {
    match tracker {
        Tracker::Promptfoo => promptfoo(report, items),
        Tracker::MlFlow => mlflow(report, items, folder),
    }
}

fn file(path: impl Into<String>, text: impl Into<String>) -> File {
    File { path: path.into(), text: text.into() }
}

fn promptfoo(report: &RunReport, items: &[EvalItem]) -> Result<Vec<File>, csv::Error> {
    let run = &report.run;
    let configuration = json!({
        "description": format!("{} on {}/{}, run {} of txcat", run.stage, run.data_set, run.file, run.id),
        "tags": { "engine": run.engine, "taxonomy": run.taxonomy, "file_sha256": run.file_sha256 },
        "providers": ["echo"],
        "prompts": ["{{predicted}}"],
        "tests": "file://tests.csv",
    });
    let mut tests = csv::Writer::from_writer(Vec::new());
    tests.write_record(["id", "key", "direction", "amount", "predicted", "confidence", "__expected"])?;
    for item in items {
        tests.write_record([
            item.item_id.as_str(),
            item.descriptor_key.as_deref().unwrap_or_default(),
            item.direction.as_deref().unwrap_or_default(),
            &item.amount.map(|amount| amount.to_string()).unwrap_or_default(),
            &item.predicted,
            &item.confidence.to_string(),
            &item.expected,
        ])?;
    }
    Ok(vec![file("promptfooconfig.json", format!("{configuration:#}\n")), file("tests.csv", text(tests)?)])
}

/// Layout of MLflow's file store: an experiment for each file that is scored, a run in it, and in that a file for each
/// metric (`timestamp value step`), parameter and tag. All are named by the run's number, so that an export twice is one run.
fn mlflow(report: &RunReport, items: &[EvalItem], folder: &Path) -> Result<Vec<File>, csv::Error> {
    let run = &report.run;
    let at = run.started_at.timestamp_millis();
    let experiment = u64::from_str_radix(&run.file_sha256[..12], 16).unwrap_or_default().to_string();
    let id = format!("{:032x}", run.id);
    let root = format!("{experiment}/{id}");
    let place = |path: &str| json!(folder.join(path).to_string_lossy()).to_string();
    let text_of = |value: &dyn std::fmt::Display| json!(value.to_string()).to_string();
    let mut files = vec![
        file(
            format!("{experiment}/meta.yaml"),
            format!(
                "artifact_location: {place}\ncreation_time: {at}\nexperiment_id: '{experiment}'\nlast_update_time: {at}\n\
                 lifecycle_stage: active\nname: {}\n",
                text_of(&format!("{}/{}", run.data_set, run.file)),
                place = place(&experiment),
            ),
        ),
        file(
            format!("{root}/meta.yaml"),
            format!(
                "artifact_uri: {artifacts}\nend_time: {at}\nentry_point_name: ''\nexperiment_id: '{experiment}'\n\
                 lifecycle_stage: active\nrun_id: '{id}'\nrun_name: {name}\nrun_uuid: '{id}'\nsource_name: ''\nsource_type: 4\n\
                 source_version: ''\nstart_time: {at}\nstatus: 3\ntags: []\nuser_id: txcat\n",
                artifacts = place(&format!("{root}/artifacts")),
                name = text_of(&run.stage),
            ),
        ),
        file(format!("{root}/tags/mlflow.runName"), run.stage.clone()),
    ];
    let parameters = [
        ("stage", Some(run.stage.clone())),
        ("engine", Some(run.engine.clone()).filter(|engine| !engine.is_empty())),
        ("taxonomy", Some(run.taxonomy.clone())),
        ("file_sha256", Some(run.file_sha256.clone())),
        ("labels_sha256", run.labels_sha256.clone()),
        ("label_budget", run.label_budget.map(|budget| budget.to_string())),
        ("seed", run.seed.map(|seed| seed.to_string())),
        ("code_version", run.code_version.clone()),
        ("target", run.target.map(|target| target.to_string())),
    ];
    for (name, value) in parameters {
        files.extend(value.map(|value| file(format!("{root}/params/{name}"), value)));
    }
    for (name, value) in metrics(report) {
        files.push(file(format!("{root}/metrics/{name}"), format!("{at} {value} 0\n")));
    }
    let mut answers = csv::Writer::from_writer(Vec::new());
    answers.write_record(["id", "expected", "predicted", "confidence"])?;
    for item in items {
        answers.write_record([&item.item_id, &item.expected, &item.predicted, &item.confidence.to_string()])?;
    }
    files.push(file(format!("{root}/artifacts/answers.csv"), text(answers)?));
    Ok(files)
}

/// Every figure under a name that MLflow takes: letters, digits, `_`, `-`, `.`, blanks and `/`.
fn metrics(report: &RunReport) -> Vec<(String, f64)> {
    let figures = &report.figures;
    let share = |of: Option<super::metrics::Share>| of.map(|of| of.share);
    let named = [
        ("accuracy", Some(figures.accuracy.share)),
        ("accuracy_low", Some(figures.accuracy.low)),
        ("accuracy_high", Some(figures.accuracy.high)),
        ("accuracy_low_by_merchant", Some(figures.accuracy_by_merchant.low)),
        ("accuracy_high_by_merchant", Some(figures.accuracy_by_merchant.high)),
        ("accuracy_answered", share(figures.answered)),
        ("top3", share(figures.top3)),
        ("accuracy_primary", share(figures.primary)),
        ("macro_f1", Some(figures.macro_f1)),
        ("weighted_f1", Some(figures.weighted_f1)),
        ("log_loss", figures.log_loss),
        ("answer_brier", figures.answer_brier),
        ("ece", figures.ece),
        ("aurc", figures.aurc),
        ("latency_p50_ms", figures.latency_p50_ms),
        ("latency_p95_ms", figures.latency_p95_ms),
        ("tokens", figures.tokens.map(|tokens| tokens as f64)),
    ];
    let all = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let slices = report.slices.iter().map(|slice| {
        let mut name = "accuracy.".to_owned();
        let value = slice.value.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let _ = write!(name, "{}.{value}", slice.slice);
        (name, slice.accuracy.share)
    });
    let classes = report.classes.iter().map(|class| (format!("f1.{}", class.category), class.f1));
    all.chain(slices).chain(classes).collect()
}

fn text(writer: csv::Writer<Vec<u8>>) -> Result<String, csv::Error> {
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
