//! A provider by script: files, batches, fine-tuning jobs, models and chat on a loopback port, in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use txcat::llm::ModelEntry;

/// A running provider. It stops when dropped.
pub(crate) struct Provider {
    pub(crate) base_url: String,
    pub(crate) script: Script,
    _stop: oneshot::Sender<()>,
}

/// What it has seen and has, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(crate) struct Inner {
    /// Every request, in order.
    pub(crate) seen: Vec<Seen>,
    /// Every answer's body, with the path that it was to.
    pub(crate) said: Vec<(String, Value)>,
    pub(crate) files: Vec<Value>,
    pub(crate) contents: HashMap<String, Vec<u8>>,
    pub(crate) jobs: Vec<Value>,
    pub(crate) batches: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) models: Vec<Value>,
    /// Requests to these paths are done, and answered with a failure all the same.
    pub(crate) doubtful: VecDeque<&'static str>,
    /// Requests to these paths are refused.
    pub(crate) refused: VecDeque<&'static str>,
    /// What chat answers.
    pub(crate) chat: String,
    /// Completes a batch when it is looked at: what each line's body is answered, if it is.
    pub(crate) completes: Option<LineReply>,
}

/// What a line's body is answered, if it is.
pub(crate) type LineReply = Box<dyn FnMut(&Value) -> Option<String> + Send>;

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The value of a multipart field.
    pub(crate) fn field(&self, name: &str) -> (String, String) {
        let text = String::from_utf8(self.body.clone()).unwrap();
        let part = text.split("\r\n--").find(|part| part.contains(&format!("name=\"{name}\""))).unwrap();
        let part = part.trim_start_matches(|c| c != '\n');
        let (head, value) = text[text.find(part).unwrap()..].split_once("\r\n\r\n").unwrap();
        (head.to_owned(), value.split("\r\n--").next().unwrap().to_owned())
    }
}

impl Script {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// Requests of this method to this path.
    pub(crate) fn requests(&self, method: &str, path: &str) -> Vec<Seen> {
        self.with(|inner| {
            inner.seen.iter().filter(|seen| seen.method == method && seen.path == path).cloned().collect()
        })
    }
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let script = Script::default();
        script.with(|inner| inner.chat = r#"{"answers":[{"id":"t1","category":"food"}]}"#.to_owned());
        let router = Router::new().fallback(answer).with_state(script.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            axum::serve(listener, router).with_graceful_shutdown(stop).await.unwrap();
        });
        Self { base_url, script, _stop: stop }
    }

    /// An entry for it, with more settings.
    pub(crate) fn entry(&self, more: &str) -> ModelEntry {
        toml::from_str(&self.toml(more)).unwrap()
    }

    pub(crate) fn toml(&self, more: &str) -> String {
        format!(
            "name = \"small\"\nprovider = \"openai\"\nbase_url = \"{}\"\nmodel = \"gpt-4o-mini\"\nbackoff_s = 0.01\n\
             retries = 2\n{more}",
            self.base_url
        )
    }
}

async fn answer(State(script): State<Script>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let path = parts.uri.path().trim_start_matches("/v1").to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let seen = Seen { method: parts.method.to_string(), path, query, headers: parts.headers, body };
    let method = seen.method.clone();
    let path = seen.path.clone();
    script.with(|inner| {
        inner.seen.push(seen.clone());
        let creates = method == "POST";
        if creates && inner.refused.front().is_some_and(|refused| *refused == path) {
            inner.refused.pop_front();
            let error =
                json!({"error": {"message": "no", "type": "invalid_request_error", "param": null, "code": "no"}});
            return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
        }
        if let Some(id) = path.strip_prefix("/files/").and_then(|rest| rest.strip_suffix("/content")) {
            return match inner.contents.get(id) {
                Some(content) => content.clone().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            };
        }
        let Some(body) = inner.told(&seen) else { return StatusCode::NOT_FOUND.into_response() };
        if creates && inner.doubtful.front().is_some_and(|doubtful| *doubtful == path) {
            inner.doubtful.pop_front();
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        inner.said.push((path, body.clone()));
        axum::Json(body).into_response()
    })
}

impl Inner {
    fn told(&mut self, seen: &Seen) -> Option<Value> {
        let list = |data: &[Value]| json!({"object": "list", "data": data, "has_more": false});
        let steps: Vec<&str> = seen.path.trim_start_matches('/').split('/').collect();
        Some(match (seen.method.as_str(), steps.as_slice()) {
            ("POST", ["chat", "completions"]) => completion(&self.chat, &seen.json()),
            ("GET", ["models"]) => json!({"object": "list", "data": self.models}),
            ("GET", ["files"]) => {
                let id = |place: Option<&Value>| place.map_or(Value::from(""), |file| file["id"].clone());
                let mut page = list(&self.files);
                page["first_id"] = id(self.files.first());
                page["last_id"] = id(self.files.last());
                page
            }
            ("POST", ["files"]) => {
                let (head, content) = seen.field("file");
                let filename = head.split("filename=\"").nth(1)?.split('"').next()?;
                let id = format!("file-{}", self.files.len() + 1);
                let file = json!({
                    "id": id, "object": "file", "bytes": content.len(), "created_at": 1_760_000_000,
                    "filename": filename, "purpose": seen.field("purpose").1, "status": "processed",
                });
                self.contents.insert(id, content.into_bytes());
                self.files.push(file.clone());
                file
            }
            ("GET", ["batches"]) => list(&self.batches),
            ("POST", ["batches"]) => {
                let asked = seen.json();
                let batch = json!({
                    "id": format!("batch_{}", self.batches.len() + 1), "object": "batch",
                    "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
                    "completion_window": asked["completion_window"], "status": "validating",
                    "created_at": 1_760_000_000, "metadata": asked["metadata"],
                    "request_counts": {"total": 0, "completed": 0, "failed": 0},
                });
                self.batches.push(batch.clone());
                batch
            }
            ("GET", ["batches", id]) => {
                let place = self.batches.iter().position(|batch| batch["id"] == *id)?;
                self.complete(place);
                self.batches[place].clone()
            }
            ("GET", ["fine_tuning", "jobs"]) => list(&self.jobs),
            ("POST", ["fine_tuning", "jobs"]) => {
                let asked = seen.json();
                let job = json!({
                    "id": format!("ftjob-{}", self.jobs.len() + 1), "object": "fine_tuning.job",
                    "created_at": 1_760_000_000, "finished_at": null, "model": asked["model"],
                    "fine_tuned_model": null, "organization_id": "org-1", "result_files": [],
                    "status": "validating_files", "validation_file": null, "trained_tokens": null, "error": null,
                    "training_file": asked["training_file"], "hyperparameters": {"n_epochs": "auto"},
                    "seed": asked.get("seed").cloned().unwrap_or(json!(7)), "metadata": asked["metadata"],
                });
                self.jobs.push(job.clone());
                job
            }
            ("GET", ["fine_tuning", "jobs", id]) => self.jobs.iter().find(|job| job["id"] == *id)?.clone(),
            ("POST", ["fine_tuning", "jobs", id, "cancel"]) => {
                let job = self.jobs.iter_mut().find(|job| job["id"] == *id)?;
                job["status"] = "cancelled".into();
                job.clone()
            }
            ("GET", ["fine_tuning", "jobs", _, "events"]) => {
                // Two a page, newest first.
                let after = seen.query.split('&').find_map(|pair| pair.strip_prefix("after="));
                let place =
                    after.map_or(0, |after| self.events.iter().position(|event| event["id"] == after).unwrap() + 1);
                let rest = &self.events[place..];
                json!({"object": "list", "data": rest[..rest.len().min(2)], "has_more": rest.len() > 2})
            }
            _ => return None,
        })
    }

    /// Answers a batch's lines, last first.
    fn complete(&mut self, place: usize) {
        let Some(mut reply) = self.completes.take() else { return };
        let input = self.batches[place]["input_file_id"].as_str().unwrap().to_owned();
        let lines = String::from_utf8(self.contents[&input].clone()).unwrap();
        let mut output = String::new();
        for line in lines.lines().rev() {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Some(text) = reply(&line["body"]) {
                let body = completion(&text, &line["body"]);
                let response = json!({"status_code": 200, "request_id": "r", "body": body});
                let said = json!({"id": "b", "custom_id": line["custom_id"], "response": response, "error": null});
                output += &format!("{said}\n");
            }
        }
        let id = format!("file-out-{place}");
        self.contents.insert(id.clone(), output.into_bytes());
        self.batches[place]["status"] = "completed".into();
        self.batches[place]["output_file_id"] = id.into();
        self.completes = Some(reply);
    }
}

fn completion(chat: &str, asked: &Value) -> Value {
    let token = json!({"token": chat, "logprob": -0.1, "bytes": null, "top_logprobs": []});
    let logprobs = match asked["logprobs"].as_bool() {
        Some(true) => json!({"content": [token], "refusal": null}),
        _ => Value::Null,
    };
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_760_000_000, "model": asked["model"],
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": logprobs,
            "message": {"role": "assistant", "content": chat, "refusal": null},
        }],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    })
}
