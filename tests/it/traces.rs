//! Traces, as a collector gets them: one request from HTTP through the stage to Postgres and the model, and no word of what was bought.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Router, body::Bytes, extract::State, http::Uri};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Told},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    chat::{COMPLETION_TOKENS, PROMPT_TOKENS, Provider, Reaction, answers, rows},
    harness::{PATIENCE, Served, row, with},
};

/// A collector on loopback that keeps what it is sent.
struct Collector {
    url: String,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&taken));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, taken }
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Span> {
        let sent = self.bodies().into_iter().map(|body| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
        let resources = sent.flat_map(|sent| sent.resource_spans).inspect(|resource| {
            assert_eq!(text(&resource.resource.as_ref().unwrap().attributes, "service.name"), "txcat");
        });
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

async fn take(State(taken): State<Arc<Mutex<Vec<Vec<u8>>>>>, uri: Uri, body: Bytes) {
    assert_eq!(uri.path(), "/v1/traces");
    taken.lock().unwrap().push(body.into());
}

fn told<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Told> {
    attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

#[track_caller]
fn text<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    match told(attributes, name) {
        Some(Told::StringValue(text)) => text,
        other => panic!("{name} is {other:?}"),
    }
}

#[track_caller]
fn number(attributes: &[KeyValue], name: &str) -> i64 {
    match told(attributes, name) {
        Some(Told::IntValue(number)) => *number,
        other => panic!("{name} is {other:?}"),
    }
}

/// A file of one chat model.
fn models(provider: &Provider) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = format!(
        "[budget]\ncurrency = 'USD'\n[[model]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\nmodel = 'small'\n",
        provider.url()
    );
    std::fs::write(file.path(), entry).unwrap();
    file
}

#[tokio::test]
async fn a_collector_gets_one_trace_of_a_request_and_no_word_of_what_was_bought() {
    let collector = Collector::start().await;
    let provider = Provider::start(|_, body| Reaction::Says(answers(&rows(body), |_| "coffee_shop".to_owned()))).await;
    let models = models(&provider);
    let served = Served::start(
        &["--chat-model", "scripted", "--chat-models", models.path().to_str().unwrap()],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())],
    )
    .await;
    let client = txcat::outbound::client().no_proxy().build().unwrap();
    let private = json!({ "amount": "90817263.45", "account_id": "acc-private", "counterparty": "Private Person" });
    let sent = json!({ "transactions": [with(row("id-private", "PRIVATE SHOP 77"), private)] });
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let answer = client
        .post(format!("http://{}/v1/transactions", served.address))
        .header("traceparent", format!("00-{trace}-{parent}-01"))
        .header("idempotency-key", "key-private")
        .json(&sent)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert_eq!(provider.requests().len(), 1);
    client.get(format!("http://{}/v1/transactions/id-private", served.address)).send().await.unwrap();
    // Nothing has been sent yet, or not all: what is left goes when the service stops.
    served.stop().await;

    let spans = collector.spans();
    let named = |name: &str| {
        let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} among {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
        found[0]
    };
    let request = named("POST /v1/transactions");
    assert_eq!((hex::encode(&request.trace_id), hex::encode(&request.parent_span_id)), (trace.into(), parent.into()));
    assert_eq!(request.kind, i32::from(SpanKind::Server));
    assert_eq!(text(&request.attributes, "http.request.method"), "POST");
    assert_eq!(text(&request.attributes, "http.route"), "/v1/transactions");
    assert_eq!(number(&request.attributes, "http.response.status_code"), 200);
    let stage = named("txcat.stage");
    assert_eq!(text(&stage.attributes, "txcat.stage.name"), "few_shot");
    assert_eq!(number(&stage.attributes, "txcat.stage.rows"), 1);
    let model = named("chat small");
    assert_eq!((&model.trace_id, &model.parent_span_id), (&request.trace_id, &stage.span_id));
    assert_eq!(model.kind, i32::from(SpanKind::Client));
    assert_eq!(text(&model.attributes, "gen_ai.operation.name"), "chat");
    assert_eq!(text(&model.attributes, "gen_ai.provider.name"), "openai");
    assert_eq!(text(&model.attributes, "gen_ai.request.model"), "small");
    assert_eq!(number(&model.attributes, "gen_ai.usage.input_tokens"), i64::from(PROMPT_TOKENS));
    assert_eq!(number(&model.attributes, "gen_ai.usage.output_tokens"), i64::from(COMPLETION_TOKENS));
    let asked = ["ingest", "history", "account_rules", "record", "views"].map(named);
    for database in asked {
        assert_eq!(text(&database.attributes, "db.system.name"), "postgresql", "{}", database.name);
    }
    for child in asked.into_iter().chain([stage]) {
        assert_eq!((&child.trace_id, &child.parent_span_id), (&request.trace_id, &request.span_id), "{}", child.name);
        let within = request.start_time_unix_nano..=request.end_time_unix_nano;
        assert!(within.contains(&child.start_time_unix_nano) && within.contains(&child.end_time_unix_nano));
    }
    // A request that names no trace begins one.
    let other = named("GET /v1/transactions/{id}");
    assert!(other.parent_span_id.is_empty() && other.trace_id != request.trace_id);

    let bodies = collector.bodies().concat();
    let holds = |words: &str| bodies.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes()));
    assert!(holds("few_shot"), "this test can't fail");
    for words in ["private", "shop 77", "90817263", "coffee", "<transactions>"] {
        assert!(!holds(words), "a trace tells `{words}`");
    }
}

#[tokio::test]
async fn a_collector_that_is_down_or_never_answers_slows_and_fails_nothing() {
    // The system takes the connection, and nobody ever reads from it.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
    let closed = "http://127.0.0.1:9".to_owned();
    for url in [&silent.0, &closed] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "1")];
        let served = Served::start(&[], &variables).await;
        let client = txcat::outbound::client().no_proxy().build().unwrap();
        for n in 0..20 {
            let sent = json!({ "transactions": [row(&format!("t{n}"), "COFFEE")] });
            let url = format!("http://{}/v1/transactions", served.address);
            let answer = client.post(url).json(&sent).timeout(PATIENCE).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let begun = Instant::now();
        served.stop().await;
        assert!(begun.elapsed() < PATIENCE, "it took {:?} to stop", begun.elapsed());
    }
}
