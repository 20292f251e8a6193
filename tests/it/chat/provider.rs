//! A provider of chat completions on loopback that does as it is told, and remembers what it was asked and billed.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the provider does with a request.
pub(crate) enum Reaction {
    /// Answers with these words, and bills them.
    Says(String),
    /// Answers with a completion of its own making, and bills it.
    Completion(Value),
    /// Fails with a status, and headers.
    Status(u16, Vec<(&'static str, &'static str)>, Value),
    /// Sends the beginning of an answer and then closes the connection.
    Cuts,
    /// Sends an answer a byte at a time, for longer than anybody waits.
    Drips,
    /// Sends what is not JSON.
    Garbage,
}

type Script = Box<dyn Fn(usize, &Value) -> Reaction + Send + Sync>;

struct Inner {
    script: Script,
    requests: Mutex<Vec<Request>>,
    billed: Mutex<usize>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) body: Value,
}

/// The provider. It ends with the test's runtime.
pub(crate) struct Provider {
    address: std::net::SocketAddr,
    inner: Arc<Inner>,
}

/// Tokens that every answer is billed.
pub(crate) const PROMPT_TOKENS: u32 = 100;
pub(crate) const COMPLETION_TOKENS: u32 = 10;

impl Provider {
    /// Begins to listen; the script hears which request it is, from 0, and its body.
    pub(crate) async fn start(script: impl Fn(usize, &Value) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner { script: Box::new(script), requests: Mutex::default(), billed: Mutex::default() });
        let router = Router::new().fallback(react).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inner }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.inner.requests.lock().unwrap().clone()
    }

    /// How many answers it bills.
    pub(super) fn billed(&self) -> usize {
        *self.inner.billed.lock().unwrap()
    }
}

/// The rows of a request, out of its marks.
pub(crate) fn rows(body: &Value) -> Vec<Value> {
    let user = body["messages"][1]["content"].as_str().unwrap();
    let (_, rest) = user.split_once("<transactions>").unwrap();
    let (data, _) = rest.split_once("</transactions>").unwrap();
    serde_json::from_str(data.trim()).unwrap()
}

/// The answer that gives each row what `of` says.
pub(crate) fn answers(rows: &[Value], of: impl Fn(&Value) -> String) -> String {
    let answers: Vec<Value> = rows.iter().map(|row| json!({"id": row["id"], "category": of(row)})).collect();
    json!({ "answers": answers }).to_string()
}

async fn react(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let number = {
        let mut requests = inner.requests.lock().unwrap();
        requests.push(Request { body: body.clone() });
        requests.len() - 1
    };
    let bill = || *inner.billed.lock().unwrap() += 1;
    match (inner.script)(number, &body) {
        Reaction::Says(text) => {
            bill();
            Json(completion(&json!({"role": "assistant", "content": text, "refusal": null}), "stop")).into_response()
        }
        Reaction::Completion(value) => {
            bill();
            Json(value).into_response()
        }
        Reaction::Status(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
            response.headers_mut().extend(headers.into_iter().map(|(name, value)| {
                (name.parse::<axum::http::HeaderName>().unwrap(), value.parse::<axum::http::HeaderValue>().unwrap())
            }));
            response
        }
        Reaction::Cuts => {
            bill();
            let whole = completion(&json!({"role": "assistant", "content": "{}"}), "stop").to_string();
            let beginning = Bytes::from(whole[..40].to_owned());
            let broken = stream::iter([Ok(beginning), Err(std::io::Error::other("cut"))]);
            ([("content-type", "application/json")], Body::from_stream(broken)).into_response()
        }
        Reaction::Drips => {
            bill();
            let drops = stream::repeat(Bytes::from_static(b" ")).then(|drop| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<_, Infallible>(drop)
            });
            ([("content-type", "application/json")], Body::from_stream(drops)).into_response()
        }
        Reaction::Garbage => {
            bill();
            "<html>Bad gateway</html>".into_response()
        }
    }
}

/// A completion as the OpenAPI document has it.
pub(super) fn completion(message: &Value, finish_reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "small",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": null}],
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
            "prompt_tokens_details": {"cached_tokens": 40},
        },
    })
}
