//! Keys and scopes: what is closed, and to whom.

use chrono::TimeDelta;
use serde_json::Value;
use txcat::{
    access::{Access, Error, LOCAL, Role, Scope},
    clock,
    http::{self, Need},
};

use crate::harness::{Answer, App};

/// A path with something in the place of its parameters.
fn filled(path: &str) -> String {
    path.replace("{id}", "t1").replace("{*rest}", "index.html").replace("{name}", "style.css")
}

async fn with_key(app: &App, method: &str, path: &str, key: &str) -> Answer {
    app.send(app.request(method, path).bearer_auth(key)).await
}

#[tokio::test]
async fn every_documented_operation_declares_its_scope() {
    let app = App::start().await;
    let document = app.get("/openapi.json").await.with(200);
    let declared = http::declared_routes();
    let mut documented = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let need =
                declared.iter().find(|(verb, route, _)| verb.as_str().eq_ignore_ascii_case(method) && route == path);
            let (_, _, need) = need.unwrap_or_else(|| panic!("{method} {path} declares no scope"));
            let said = operation["security"][0]["api_key"][0].as_str();
            match need {
                Need::Open | Need::Signed => assert_eq!(said, None, "{method} {path}"),
                Need::Scope(scope) => assert_eq!(said, Some(scope.as_str()), "{method} {path}"),
                Need::Page(_) => panic!("{method} {path} is a page, and documented"),
            }
            documented += 1;
        }
    }
    let of_api = declared.iter().filter(|(_, path, need)| {
        let for_people = ["/docs", "/openapi.json", "/sign-", "/assets/"].iter().any(|start| path.starts_with(start));
        !for_people && !matches!(need, Need::Page(_))
    });
    assert_eq!(documented, of_api.count(), "routes that the document does not describe");
    assert!(documented >= 9);
}

#[tokio::test]
async fn only_health_and_documentation_are_open() {
    let open: Vec<String> = http::declared_routes()
        .into_iter()
        .filter(|(_, _, need)| *need == Need::Open)
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    insta::assert_json_snapshot!(open);
}

#[tokio::test]
async fn a_guarded_route_wants_a_key_with_its_scope() {
    let app = App::start().await;
    let keys = [
        (Scope::Ingest, app.make_key("ingest", &[Scope::Ingest], None).await),
        (Scope::Read, app.make_key("read", &[Scope::Read], None).await),
        (Scope::Review, app.make_key("review", &[Scope::Review], None).await),
        (Scope::Batch, app.make_key("batch", &[Scope::Batch], None).await),
        (Scope::Admin, app.make_key("admin", &[Scope::Admin], None).await),
    ];
    for (method, path, need) in http::declared_routes() {
        let (method, path) = (method.as_str(), filled(&path));
        let without = app.send(app.request(method, &path)).await;
        if need == Need::Signed {
            without.with(401);
            continue;
        }
        if let Need::Page(_) = need {
            let page = without.with(200);
            assert!(page.as_str().unwrap().contains("<h1>Sign in</h1>"), "{method} {path} is open");
            continue;
        }
        let Need::Scope(scope) = need else {
            assert!(![401, 403].contains(&without.status), "{method} {path} is open");
            continue;
        };
        assert_eq!(without.headers["www-authenticate"], "Bearer realm=\"txcat\"");
        without.with(401);
        for (has, key) in &keys {
            let answer = with_key(&app, method, &path, key).await;
            if *has == scope || *has == Scope::Admin {
                assert!(![401, 403].contains(&answer.status), "{has} on {method} {path}: {}", answer.body);
            } else {
                assert_eq!(answer.with(403)["type"], "urn:txcat:problem:missing-scope", "{has} on {method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_wrong_revoked_or_expired_opens_nothing() {
    let app = App::start().await;
    let good = app.make_key("good", &[Scope::Read], None).await;
    let revoked = app.make_key("revoked", &[Scope::Read], None).await;
    let expired = app.make_key("expired", &[Scope::Read], Some(clock::now() - TimeDelta::seconds(1))).await;
    assert!(app.store.revoke_key("revoked", LOCAL, clock::now()).await.unwrap());
    with_key(&app, "GET", "/v1/transactions", &good).await.with(200);
    let near_miss = format!("{}0", &good[..good.len() - 1]);
    let near_miss = if near_miss == good { format!("{}1", &good[..good.len() - 1]) } else { near_miss };
    let mut bodies = Vec::new();
    for key in [revoked, expired, near_miss, "txcat_00_00".to_owned(), "nonsense".to_owned(), String::new()] {
        bodies.push(with_key(&app, "GET", "/v1/transactions", &key).await.with(401));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "an answer tells why a key is not valid: {bodies:?}");
    let basic = app.request("GET", "/v1/transactions").header("authorization", "Basic dXNlcjpwYXNz");
    app.send(basic).await.with(401);
}

#[tokio::test]
async fn the_first_key_closes_the_local_door() {
    let app = App::start().await;
    app.get("/v1/transactions").await.with(200);
    app.make_key("first", &[Scope::Ingest], None).await;
    app.get("/v1/transactions").await.with(401);
}

#[tokio::test]
async fn a_page_elsewhere_is_not_the_local_admin() {
    let app = App::start().await;
    let rebound = app.request("GET", "/v1/transactions").header("host", "evil.example");
    assert_eq!(app.send(rebound).await.with(421)["type"], "urn:txcat:problem:foreign-host");
    let local = app.request("GET", "/v1/transactions").header("host", "localhost:1");
    app.send(local).await.with(200);
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_key() {
    let app = App::start().await;
    let everywhere = "0.0.0.0:8080".parse().unwrap();
    let refused = Access::new(app.store.clone(), everywhere, clock::now()).await;
    assert!(matches!(refused, Err(Error::Exposed { .. })), "{refused:?}");
    app.make_key("first", &[Scope::Read], None).await;
    Access::new(app.store.clone(), everywhere, clock::now()).await.unwrap();
}

#[tokio::test]
async fn a_correction_names_the_key_that_made_it() {
    let app = App::start_with_key(&[Scope::Ingest, Scope::Review, Scope::Read]).await;
    app.ingest(&[crate::harness::row("t1", "CORNER PLACE")]).await;
    let correction = serde_json::json!({ "category": "coffee_shop", "scope": "transaction" });
    let corrected: Value = app.post("/v1/transactions/t1/correction", &correction).await.with(200);
    assert_eq!(corrected["decided_by"], "correction");
    let made_by: String = sqlx::query_scalar("select made_by from corrections")
        .fetch_one(&sqlx::PgPool::connect(&app.database.url).await.unwrap())
        .await
        .unwrap();
    assert_eq!(made_by, "test");
}

/// What must be in a body so that the id is looked at.
fn body(path: &str) -> Value {
    let decision = || serde_json::json!({ "category": "coffee_shop", "scope": "transaction" });
    match path.rsplit('/').next().unwrap() {
        "correction" => decision(),
        "moves" => serde_json::json!({ "to": "shadow", "share": 0.5 }),
        "rollback" => serde_json::json!({ "reason": "to see" }),
        "{id}" if path.contains("second-labels") => serde_json::json!({ "category": "coffee_shop" }),
        _ => serde_json::json!({}),
    }
}

#[tokio::test]
async fn an_unknown_id_is_told_from_a_missing_scope_on_every_route() {
    let app = App::start().await;
    let (admin, other) = (
        app.make_key("admin", &[Scope::Admin], None).await,
        [
            (Scope::Ingest, app.make_key("ingest", &[Scope::Ingest], None).await),
            (Scope::Read, app.make_key("read", &[Scope::Read], None).await),
        ],
    );
    let mut looked = 0;
    for (method, path, need) in http::declared_routes() {
        let Need::Scope(scope) = need else { continue };
        if !path.contains('{') {
            continue;
        }
        let there = path.replace("{id}", "987654321").replace("{reference}", "nobody@7");
        let ask = |key: &str| {
            let request = app.request(method.as_str(), &there).bearer_auth(key);
            if method == "GET" || method == "DELETE" { request } else { request.json(&body(&path)) }
        };
        let answer = app.send(ask(&admin)).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
        let kind = answer.body["type"].as_str().unwrap();
        assert!(kind.starts_with("urn:txcat:problem:unknown-") && kind != "urn:txcat:problem:unknown-route", "{kind}");
        // Who may not look does not learn whether there is one.
        for (_, key) in other.iter().filter(|(has, _)| *has != scope) {
            app.send(ask(key)).await.with(403);
        }
        looked += 1;
    }
    assert!(looked >= 18, "{looked}");
}

#[tokio::test]
async fn the_table_of_routes_scopes_and_roles_is_the_one_that_was_agreed_on() {
    let table: Vec<String> = http::declared_routes()
        .into_iter()
        .map(|(method, path, need)| {
            let (says, scope) = match need {
                Need::Open => return format!("{method} {path}: open"),
                Need::Signed => return format!("{method} {path}: signed"),
                Need::Scope(scope) => (scope.to_string(), scope),
                Need::Page(scope) => (format!("page, {scope}"), scope),
            };
            let may = |role: &&Role| role.scopes().contains(&scope) || role.scopes().contains(&Scope::Admin);
            let roles: Vec<String> = Role::ALL.iter().filter(may).map(Role::to_string).collect();
            format!("{method} {path}: {says}; {}", roles.join(", "))
        })
        .collect();
    insta::assert_json_snapshot!(table);
}
