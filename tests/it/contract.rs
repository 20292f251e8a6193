//! Every request to a provider of OpenAI's format against OpenAI's OpenAPI document, which lies beside the
//! checkout. What the scripted provider answers is held to it too.

use std::{collections::HashSet, path::Path, sync::Arc};

use serde_json::{Value, json};
use txcat::llm::{
    self, Ask, ModelEntry,
    batch::Batches,
    tuning::{Method, NewJob, Tuning},
};

use crate::provider::Provider;

/// The document, its schemas as JSON Schema of 2020-12; `None`, and said so, where it is not at hand.
pub(crate) fn document() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/specs/openai-openapi.json");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("SKIPPED: OpenAI's OpenAPI document is not at {}", path.display());
        return None;
    };
    let mut document: Value = serde_json::from_slice(&text).unwrap();
    let mut components = document["components"].take();
    modern(&mut components);
    Some(components)
}

/// Puts what OpenAPI 3.0 had of its own in today's words: `nullable`, and bounds that are exclusive by a flag.
fn modern(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(modern),
        Value::Object(members) => {
            members.values_mut().for_each(modern);
            for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
                if members.get(flag) == Some(&Value::Bool(true)) {
                    let limit = members.remove(bound).unwrap();
                    members.insert(flag.to_owned(), limit);
                } else if members.get(flag) == Some(&Value::Bool(false)) {
                    members.remove(flag);
                }
            }
            if members.remove("nullable") == Some(Value::Bool(true)) {
                let schema = Value::Object(std::mem::take(members));
                members.insert("anyOf".to_owned(), json!([schema, {"type": "null"}]));
            }
        }
        _ => {}
    }
}

/// What is wrong with a value, by a schema of the document.
fn faults(components: &Value, schema: &str, value: &Value) -> Vec<String> {
    let root = json!({"$ref": format!("#/components/schemas/{schema}"), "components": components});
    let validator = jsonschema::draft202012::new(&root).unwrap();
    validator.iter_errors(value).map(|error| format!("{schema} at {}: {error}", error.instance_path())).collect()
}

#[track_caller]
fn assert_valid(components: &Value, schema: &str, value: &Value) {
    let faults = faults(components, schema, value);
    assert!(faults.is_empty(), "{faults:#?}\nin {value:#}");
}

pub(crate) fn ask() -> Ask {
    let categories: Arc<[_]> = ["food", "travel"].map(|slug| slug.parse().unwrap()).into();
    let schema = json!({
        "type": "object",
        "properties": {"answers": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "category": {"type": "string", "enum": ["food", "travel"]}},
            "required": ["id", "category"], "additionalProperties": false,
        }}},
        "required": ["answers"], "additionalProperties": false,
    });
    Ask {
        system: "Put transactions into categories.".to_owned(),
        user: "COFFEE HOUSE, CARD 4111 1111 1111 1111".to_owned(),
        own: Arc::default(),
        ids: vec!["t1".to_owned()],
        categories,
        schema: Arc::new(schema),
    }
}

pub(crate) fn job(method: Method) -> NewJob {
    NewJob {
        model: "gpt-4o-mini".to_owned(),
        training_file: "file-abc123".to_owned(),
        method,
        epochs: Some(3),
        suffix: Some("txcat".parse().unwrap()),
        seed: Some(42),
        mark: "ab".repeat(32),
        attempt: 1,
    }
}

/// Entries for every way in which chat is asked.
fn entries(provider: &Provider) -> Vec<ModelEntry> {
    let mut entries = Vec::new();
    for structured in ["json_schema", "json_object", "text"] {
        for more in ["", "logprobs = true", "temperature = 0.0", "logprobs = true\ntemperature = 1.5"] {
            entries.push(provider.entry(&format!("structured = \"{structured}\"\n{more}")));
        }
    }
    entries
}

#[test]
fn a_wrong_request_would_be_noticed() {
    let Some(components) = document() else { return };
    let right = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]});
    assert_valid(&components, "CreateChatCompletionRequest", &right);
    for (pointer, wrong) in [
        ("/messages", json!([])),
        ("/messages/0/role", json!("nobody")),
        ("/temperature", json!(3)),
        ("/top_logprobs", json!(21)),
        ("/response_format", json!({"type": "json_schema"})),
    ] {
        let mut request = right.clone();
        match request.pointer_mut(pointer) {
            Some(place) => *place = wrong,
            None => request[&pointer[1..]] = wrong,
        }
        assert!(!faults(&components, "CreateChatCompletionRequest", &request).is_empty(), "{pointer}");
    }
    let wrong = json!({"model": "m", "training_file": "f", "method": {"type": "guessing"}});
    assert!(!faults(&components, "CreateFineTuningJobRequest", &wrong).is_empty());
}

#[tokio::test]
async fn chat_requests_are_those_of_the_document() {
    let Some(components) = document() else { return };
    let provider = Provider::start().await;
    let entries = entries(&provider);
    for entry in &entries {
        let reply = llm::open(entry).unwrap().ask(&ask()).await.unwrap();
        assert_eq!(reply.answers[0].as_ref().unwrap().category.as_str(), "food");
    }
    let sent = provider.script.requests("POST", "/chat/completions");
    assert_eq!(sent.len(), entries.len());
    for request in &sent {
        assert_valid(&components, "CreateChatCompletionRequest", &request.json());
        assert!(!String::from_utf8_lossy(&request.body).contains("4111"), "personal data left");
    }
    let said = provider.script.with(|inner| inner.said.clone());
    said.iter().for_each(|(_, body)| assert_valid(&components, "CreateChatCompletionResponse", body));
}

#[tokio::test]
async fn fine_tuning_requests_are_those_of_the_document() {
    let Some(components) = document() else { return };
    let provider = Provider::start().await;
    let day = |date: &str| json!({"id": date, "object": "model", "created": 1, "owned_by": "o", "shutdown_date": date});
    provider.script.with(|inner| inner.models = vec![day("2027-01-31")]);
    let tuning = Tuning::new(&provider.entry("")).unwrap();
    for method in [Method::Supervised, Method::Dpo] {
        let mut job = job(method);
        job.mark = method.as_str().repeat(4);
        tuning.create(&job).await.unwrap();
        let bare = NewJob { epochs: None, suffix: None, seed: None, mark: format!("bare {}", method.as_str()), ..job };
        tuning.create(&bare).await.unwrap();
    }
    assert_eq!(tuning.cancel("ftjob-1").await.unwrap().status, "cancelled");
    assert_eq!(tuning.models().await.unwrap()[0].shutdown_date.unwrap().to_string(), "2027-01-31");
    let sent = provider.script.requests("POST", "/fine_tuning/jobs");
    assert_eq!(sent.len(), 4);
    for request in &sent {
        assert_valid(&components, "CreateFineTuningJobRequest", &request.json());
        assert!(request.headers.contains_key("idempotency-key"));
    }
    assert_eq!(sent[2].json()["method"], json!({"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3}}}));
    for (path, body) in provider.script.with(|inner| inner.said.clone()) {
        let schema = match path.as_str() {
            "/models" => "ListModelsResponse",
            "/fine_tuning/jobs" if body["object"] == "list" => "ListPaginatedFineTuningJobsResponse",
            _ => "FineTuningJob",
        };
        assert_valid(&components, schema, &body);
    }
}

#[tokio::test]
async fn batches_and_files_are_those_of_the_document() {
    let Some(components) = document() else { return };
    let provider = Provider::start().await;
    for structured in ["json_schema", "json_object", "text"] {
        let entry = provider.entry(&format!("structured = \"{structured}\"\nlogprobs = true"));
        let batches = Batches::new(&entry).unwrap();
        batches.submit(&batches.files(&[ask(), ask()]).unwrap()[0], &HashSet::new()).await.unwrap();
    }
    let uploads = provider.script.requests("POST", "/files");
    assert_eq!(uploads.len(), 3);
    for upload in &uploads {
        assert!(upload.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data"));
        let (head, content) = upload.field("file");
        assert!(head.contains("filename=\"txcat-"), "{head}");
        let fields = json!({"purpose": upload.field("purpose").1, "file": content});
        assert_valid(&components, "CreateFileRequest", &fields);
        assert_eq!(fields["purpose"], "batch");
        let lines: Vec<Value> = content.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| &line["custom_id"]).collect::<Vec<_>>(), ["0", "1"]);
        for line in &lines {
            assert_eq!((&line["method"], &line["url"]), (&json!("POST"), &json!("/v1/chat/completions")));
            assert_eq!(line.as_object().unwrap().len(), 4);
            assert_valid(&components, "CreateChatCompletionRequest", &line["body"]);
        }
        assert!(!content.contains("4111"), "personal data left");
    }
    for request in provider.script.requests("POST", "/batches") {
        assert_valid(&components, "CreateBatchRequest", &request.json());
        assert!(request.headers.contains_key("idempotency-key"));
    }
    for (path, body) in provider.script.with(|inner| inner.said.clone()) {
        let schema = match (path.as_str(), body["object"] == "list") {
            ("/files", false) => "OpenAIFile",
            ("/files", true) => "ListFilesResponse",
            ("/batches", false) => "Batch",
            _ => "ListBatchesResponse",
        };
        assert_valid(&components, schema, &body);
    }
}

#[tokio::test]
async fn azure_gets_its_key_and_its_version_where_it_looks_for_them() {
    let provider = Provider::start().await;
    // A variable that is always set stands in for the key.
    let azure = "key = \"PATH\"\nkey_header = \"api-key\"\n[query]\napi-version = \"2024-10-21\"\n";
    llm::open(&provider.entry(azure)).unwrap().ask(&ask()).await.unwrap();
    let seen = &provider.script.requests("POST", "/chat/completions")[0];
    assert_eq!(seen.headers["api-key"], std::env::var("PATH").unwrap().trim());
    assert_eq!(seen.query, "api-version=2024-10-21");
    assert!(!seen.headers.contains_key("authorization"));
}

#[tokio::test]
#[ignore = "asks a Prism mock of the document: tests/prism_check.sh starts one and runs this"]
async fn prism_has_nothing_to_object() {
    let url = std::env::var("TXCAT_PRISM_URL").expect("tests/prism_check.sh sets TXCAT_PRISM_URL");
    let entry = |more: &str| -> ModelEntry {
        let text = format!(
            "name = \"prism\"\nprovider = \"openai\"\nbase_url = \"{url}\"\nmodel = \"gpt-4o-mini\"\nretries = 0\n\
             key = \"TXCAT_PRISM_KEY\"\n{more}"
        );
        toml::from_str(&text).unwrap()
    };
    for structured in ["json_schema", "json_object", "text"] {
        for more in ["", "logprobs = true\ntemperature = 0.5"] {
            let entry = entry(&format!("structured = \"{structured}\"\n{more}"));
            llm::open(&entry).unwrap().ask(&ask()).await.unwrap();
        }
    }
    let tuning = Tuning::new(&entry("")).unwrap();
    tuning.upload(b"{\"messages\":[]}\n").await.unwrap();
    for method in [Method::Supervised, Method::Dpo] {
        tuning.create(&job(method)).await.unwrap();
    }
    tuning.job("ftjob-abc123").await.unwrap();
    tuning.events("ftjob-abc123").await.unwrap();
    tuning.cancel("ftjob-abc123").await.unwrap();
    tuning.models().await.unwrap();
    tuning.delete_file("file-abc123").await.unwrap();
    let batches = Batches::new(&entry("")).unwrap();
    batches.submit(&batches.files(&[ask()]).unwrap()[0], &HashSet::new()).await.unwrap();
    batches.poll("batch_abc123").await.unwrap();
}
