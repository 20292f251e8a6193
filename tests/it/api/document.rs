//! The OpenAPI document: made from the code, and true.

use serde_json::{Value, json};
use txcat::domain::{injection::Suspicion, prediction::Evidence};

use super::schema;
use crate::{
    harness::{App, row, with},
    tracker::{answered, stored},
};

/// The schema of one documented answer.
fn answer_schema<'a>(document: &'a Value, method: &str, path: &str, status: u16) -> &'a Value {
    let answer = &document["paths"][path][method]["responses"][status.to_string()];
    let content = answer["content"].as_object().unwrap_or_else(|| panic!("{method} {path} documents no {status}"));
    &content.values().next().unwrap()["schema"]
}

fn assert_valid(document: &Value, method: &str, path: &str, status: u16, body: &Value) {
    let found = schema::violations(document, answer_schema(document, method, path, status), body);
    assert!(found.is_empty(), "{method} {path} {status}: {found:#?}\n{body:#}");
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let app = App::start().await;
    let document = app.get("/openapi.json").await.with(200);
    let full = json!({
        "mcc": "5814", "country": "US", "channel": "card_present", "counterparty": "Someone", "status": "pending",
    });
    let rows = json!({ "transactions": [
        with(row("t1", "COFFEE"), full),
        row("t2", "CORNER PLACE"),
        with(row("t3", "COFFEE"), json!({ "replaces": "t1" })),
        with(row("t4", "COFFEE"), json!({ "currency": "XYZ" })),
        json!(null),
    ] });
    let sent = app.post("/v1/transactions", &rows).await.with(200);
    assert_valid(&document, "post", "/v1/transactions", 200, &sent);
    let queue = app.get("/v1/reviews").await.with(200);
    assert_eq!(queue["reviews"].as_array().unwrap().len(), 1);
    assert_valid(&document, "get", "/v1/reviews", 200, &queue);
    let correction = json!({ "category": "coffee_shop", "scope": "account_merchant" });
    let corrected = app.post("/v1/transactions/t2/correction", &correction).await.with(200);
    assert_valid(&document, "post", "/v1/transactions/{id}/correction", 200, &corrected);
    for id in ["t1", "t2", "t3"] {
        let one = app.get(&format!("/v1/transactions/{id}")).await.with(200);
        assert_valid(&document, "get", "/v1/transactions/{id}", 200, &one);
    }
    for path in
        ["/v1/transactions", "/v1/categories", "/v1/accuracy", "/v1/eval-runs", "/v1/datasets", "/healthz", "/readyz"]
    {
        let body = app.get(path).await.with(200);
        assert_valid(&document, "get", path, 200, &body);
    }
    let scenario: Value = toml::from_str(&std::fs::read_to_string("eval/scenarios/fintech.toml").unwrap()).unwrap();
    for scenario in [scenario, json!({})] {
        let advice = app.post("/v1/advice", &scenario).await.with(200);
        assert_valid(&document, "post", "/v1/advice", 200, &advice);
    }
    let made = app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    assert_valid(&document, "post", "/v1/datasets", 201, &made);
    let set = app.get(&format!("/v1/datasets/{}", made["dataset"]["id"])).await.with(200);
    assert_valid(&document, "get", "/v1/datasets/{id}", 200, &set);
    let [first, second] = [1, 2].map(|seed| answered(seed, 80, 0.8));
    let runs = [stored(&app.store, "few_shot", &first).await, stored(&app.store, "adapter", &second).await];
    let list = app.get("/v1/eval-runs?limit=1").await.with(200);
    assert_valid(&document, "get", "/v1/eval-runs", 200, &list);
    let run = app.get(&format!("/v1/eval-runs/{}", runs[1])).await.with(200);
    assert_valid(&document, "get", "/v1/eval-runs/{id}", 200, &run);
    let compared = app.get(&format!("/v1/eval-runs/compare?ours={}&theirs={}", runs[1], runs[0])).await.with(200);
    assert_valid(&document, "get", "/v1/eval-runs/compare", 200, &compared);
    let problem = app.get("/v1/transactions/nobody").await.with(404);
    assert_valid(&document, "get", "/v1/transactions/{id}", 404, &problem);
    let problem = app.post("/v1/transactions", &json!({ "transactions": [] })).await.with(422);
    assert_valid(&document, "post", "/v1/transactions", 422, &problem);
}

#[tokio::test]
async fn the_request_schema_takes_what_the_service_takes() {
    let app = App::start().await;
    let document = app.get("/openapi.json").await.with(200);
    let schema = &document["components"]["schemas"]["NewTransaction"];
    let required: Vec<&Value> = schema["required"].as_array().unwrap().iter().collect();
    let mut whole = row("t1", "COFFEE");
    assert_eq!(app.ingest(&[whole.clone()]).await[0]["status"], "ok");
    for member in &required {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(member.as_str().unwrap());
        app.post("/v1/transactions", &json!({ "transactions": [without] })).await.with(422);
    }
    whole.as_object_mut().unwrap().retain(|name, _| required.iter().any(|member| *member == name));
    assert_eq!(app.ingest(&[whole]).await[0]["status"], "ok", "every other member is optional");
    assert_eq!(schema["additionalProperties"], false);
}

#[tokio::test]
async fn every_documented_route_answers() {
    let app = App::start().await;
    let document = app.get("/openapi.json").await.with(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let answer = app.send(app.request(&method.to_uppercase(), &path.replace("{id}", "t1"))).await;
            let documented = &item[method]["responses"][answer.status.to_string()];
            assert!(documented.is_object(), "{method} {path} answers {}, which it does not document", answer.status);
            assert_valid(&document, method, path, answer.status, &answer.body);
        }
    }
}

#[tokio::test]
async fn the_page_comes_from_this_process_alone() {
    let app = App::start().await;
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self';"));
    let initializer = app.get("/docs/swagger-initializer.js").await.body;
    assert!(initializer.as_str().unwrap().contains("/openapi.json"));
    assert!(initializer.as_str().unwrap().contains("\"validatorUrl\": \"none\""), "{initializer}");
    for text in [page.body.as_str().unwrap(), initializer.as_str().unwrap()] {
        for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "https://"] {
            assert!(!text.contains(elsewhere), "the page fetches from elsewhere: {elsewhere}");
        }
    }
}

/// One of each kind, and the kind that follows it: a new one has to be put among these before this compiles.
fn after(evidence: &Evidence) -> Option<Evidence> {
    let category = || "coffee_shop".parse().unwrap();
    Some(match evidence {
        Evidence::Example { .. } => Evidence::Description { category: category(), similarity: 0.5 },
        Evidence::Description { .. } => Evidence::History { category: category(), count: 3 },
        Evidence::History { .. } => Evidence::Merchant { name: "Blue Bottle".to_owned(), category: category() },
        Evidence::Merchant { .. } => Evidence::KnownKey { category: category(), count: 3 },
        Evidence::KnownKey { .. } => Evidence::Suspicious { suspicions: vec![Suspicion::Role, Suspicion::Json] },
        Evidence::Suspicious { .. } => Evidence::Unanswered { why: "it was silent".to_owned() },
        Evidence::Unanswered { .. } => Evidence::Encoder { category: category(), confidence: 0.5 },
        Evidence::Encoder { .. } => return None,
    })
}

#[tokio::test]
async fn every_kind_of_evidence_is_documented() {
    let document = App::start().await.get("/openapi.json").await.with(200);
    let first =
        Evidence::Example { text: "COFFEE".to_owned(), category: "coffee_shop".parse().unwrap(), similarity: 0.5 };
    for evidence in std::iter::successors(Some(first), after) {
        let found =
            schema::violations(&document, &json!({ "$ref": "#/components/schemas/Evidence" }), &json!(evidence));
        assert!(found.is_empty(), "{evidence:?}: {found:#?}");
    }
}
