//! `POST /v1/transactions`.

use serde_json::{Value, json};

use crate::harness::{App, row, with};

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_transaction_comes_in_and_a_category_goes_out() {
    let app = App::start().await;
    let results = app.ingest(&[row("t1", "BLUE COFFEE 0412")]).await;
    insta::assert_json_snapshot!(results, { "[].taxonomy" => "[taxonomy]" });
    let stored = app.get("/v1/transactions/t1").await.with(200);
    insta::assert_json_snapshot!(stored, { ".taxonomy" => "[taxonomy]" });
}

#[tokio::test]
async fn one_hundred_and_one_thousand_rows_are_answered_in_order() {
    let app = App::start().await;
    for count in [100, 1_000] {
        let rows: Vec<Value> = (0..count).map(|n| row(&format!("batch{count}-{n}"), "COFFEE")).collect();
        let results = app.ingest(&rows).await;
        assert_eq!(results.len(), count);
        for (row, result) in rows.iter().zip(&results) {
            assert_eq!((&result["id"], &result["status"]), (&row["id"], &json!("ok")));
            assert_eq!(result["category"], "coffee_shop");
        }
    }
    assert_eq!(app.count().await, 1_100);
}

#[tokio::test]
async fn no_row_and_one_row_too_many_are_refused() {
    let app = App::start().await;
    for count in [0, 1_001] {
        let rows: Vec<Value> = (0..count).map(|n| row(&format!("t{n}"), "COFFEE")).collect();
        let problem = app.post("/v1/transactions", &json!({ "transactions": rows })).await.with(422);
        assert_eq!(problem["pointer"], "/transactions");
        assert_eq!(problem["type"], "urn:txcat:problem:invalid-body");
    }
    assert_eq!(app.count().await, 0);
}

#[tokio::test]
async fn a_bad_row_is_refused_with_a_pointer_and_the_others_are_done() {
    let app = App::start().await;
    let results = app
        .ingest(&[
            row("good-1", "COFFEE"),
            with(row("bad-currency", "COFFEE"), json!({ "currency": "XYZ" })),
            with(row("bad-member", "COFFEE"), json!({ "a/b~c": 1 })),
            with(row("", "COFFEE"), json!({})),
            json!("not a row"),
            with(row("bad-amount", "COFFEE"), json!({ "amount": "1,50" })),
            with(row("bad-time", "COFFEE"), json!({ "posted_at": "yesterday" })),
            with(row("bad-text", "COFFEE"), json!({ "descriptor": "  " })),
            row("good-2", "CORNER MARKET"),
        ])
        .await;
    assert_eq!(
        statuses(&results),
        ["ok", "refused", "refused", "refused", "refused", "refused", "refused", "refused", "ok"]
    );
    insta::assert_json_snapshot!(&results[1..8]);
    assert_eq!(app.count().await, 2);
}

#[tokio::test]
async fn amounts_are_stored_as_they_were_written() {
    let app = App::start().await;
    let written =
        [("0.1", "0.10"), ("12345678901.23", "12345678901.23"), ("\"999999999999.9999\"", "999999999999.9999")];
    for (index, (amount, printed)) in written.iter().enumerate() {
        let row = row(&format!("t{index}"), "COFFEE").to_string().replace("\"6.50\"", amount);
        let body = format!("{{\"transactions\":[{row}]}}");
        let request = app.request("POST", "/v1/transactions").header("content-type", "application/json").body(body);
        app.send(request).await.with(200);
        assert_eq!(app.get(&format!("/v1/transactions/t{index}")).await.with(200)["amount"], *printed);
    }
}

#[tokio::test]
async fn the_same_row_again_gets_its_stored_prediction_and_no_second_row() {
    let app = App::start().await;
    let first = app.ingest(&[row("t1", "COFFEE"), row("t1", "COFFEE")]).await;
    let again = app.ingest(&[row("t1", "COFFEE")]).await;
    assert_eq!(first[0], first[1]);
    assert_eq!(first[0], again[0]);
    let otherwise_written =
        with(row("t1", "COFFEE"), json!({ "amount": 6.5, "posted_at": "2026-03-14T10:26:53+01:00" }));
    assert_eq!(app.ingest(&[otherwise_written]).await[0], first[0]);
    assert_eq!(app.count().await, 1);
}

#[tokio::test]
async fn the_same_id_with_other_content_is_a_conflict() {
    let app = App::start().await;
    app.ingest(&[row("t1", "COFFEE")]).await;
    let other = with(row("t1", "COFFEE"), json!({ "amount": "7.00" }));
    let alone = app.post("/v1/transactions", &json!({ "transactions": [other] })).await;
    assert_eq!(alone.headers["content-type"], "application/problem+json");
    insta::assert_json_snapshot!(alone.with(409));
    let among_others = app.ingest(&[row("t2", "COFFEE"), other]).await;
    assert_eq!(statuses(&among_others), ["ok", "refused"]);
    assert_eq!(among_others[1]["problem"]["status"], 409);
    assert_eq!(among_others[1]["problem"]["pointer"], "/transactions/1/id");
    assert_eq!(app.get("/v1/transactions/t1").await.with(200)["amount"], "6.50");
}

#[tokio::test]
async fn a_posted_row_succeeds_the_pending_one_and_keeps_its_correction() {
    let app = App::start().await;
    let pending = with(row("p1", "CORNER PLACE"), json!({ "status": "pending", "amount": "20.00" }));
    app.ingest(std::slice::from_ref(&pending)).await;
    let correction = json!({ "category": "bar_and_nightlife", "scope": "transaction" });
    app.post("/v1/transactions/p1/correction", &correction).await.with(200);

    let posted = with(row("b1", "CORNER PLACE 0412"), json!({ "replaces": "p1", "amount": "23.00" }));
    let done = app.ingest(std::slice::from_ref(&posted)).await;
    assert_eq!(done[0]["category"], "bar_and_nightlife");
    assert_eq!(done[0]["decided_by"], "correction");
    assert_eq!(done[0]["review_status"], "reviewed");
    assert_eq!(app.ingest(std::slice::from_ref(&posted)).await[0], done[0], "the posted row again");

    let listed = app.get("/v1/transactions").await.with(200);
    let ids: Vec<&Value> = listed["transactions"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["b1"], "the pending row leaves the list");
    assert_eq!(app.get("/v1/transactions/p1").await.with(200)["replaced_by"], "b1");

    let second = with(posted.clone(), json!({ "id": "b2" }));
    let unknown = with(posted, json!({ "id": "b3", "replaces": "nobody" }));
    let refused = app.ingest(&[second, unknown]).await;
    assert_eq!(refused[0]["problem"]["status"], 409);
    assert_eq!(refused[0]["problem"]["pointer"], "/transactions/0/replaces");
    assert_eq!(refused[1]["problem"]["status"], 422);
    assert_eq!(refused[1]["problem"]["pointer"], "/transactions/1/replaces");
}

#[tokio::test]
async fn the_same_batch_posted_eight_times_at_once_gives_one_row_each() {
    let app = App::start().await;
    let mut rows: Vec<Value> = (0..100).map(|n| row(&format!("t{n}"), "COFFEE")).collect();
    let body = json!({ "transactions": rows });
    rows.reverse();
    let reversed = json!({ "transactions": rows });
    let bodies = [&body, &reversed, &body, &reversed, &body, &reversed, &body, &reversed];
    let answers = futures::future::join_all(bodies.map(|body| app.post("/v1/transactions", body))).await;
    for answer in answers {
        let results = answer.with(200)["results"].as_array().unwrap().clone();
        assert!(
            results.iter().all(|result| result["status"] == "ok" && result["category"] == "coffee_shop"),
            "{results:?}"
        );
    }
    assert_eq!(app.count().await, 100);
}

#[tokio::test]
async fn rows_that_the_engine_could_not_answer_are_categorized_when_they_come_again() {
    let app = App::start().await;
    let rows = json!({ "transactions": [row("t1", "COFFEE"), row("t2", "ENGINE FAILS")] });
    let problem = app.post("/v1/transactions", &rows).await.with(500);
    assert_eq!(problem["type"], "urn:txcat:problem:internal");
    let stored = app.get("/v1/transactions/t1").await.with(200);
    assert_eq!(stored["category"], Value::Null);
    assert_eq!(app.ingest(&[row("t1", "COFFEE")]).await[0]["category"], "coffee_shop");
}

#[tokio::test]
async fn every_answer_is_what_is_told_of_the_row_later_whatever_came_of_it_before() {
    let app = App::start().await;
    // Stored by a call that the engine failed: there, and nothing said about it.
    let left = row("left", "COFFEE");
    app.post("/v1/transactions", &json!({ "transactions": [left, row("fails", "ENGINE FAILS")] })).await.with(500);
    let pending = with(row("pending", "COFFEE"), json!({ "status": "pending" }));
    let posted = with(row("posted", "COFFEE"), json!({ "replaces": "pending" }));
    let fine = "2026-03-14T10:26:53.123456789+01:00";
    let odd =
        with(row("odd", "  COFFEE   HOUSE "), json!({ "amount": "6.5000", "currency": "usd", "posted_at": fine }));
    let results = app.ingest(&[left, posted, pending, odd.clone(), odd.clone()]).await;
    assert_eq!(statuses(&results), ["ok"; 5]);
    for result in &results {
        let stored = app.get(&format!("/v1/transactions/{}", result["id"].as_str().unwrap())).await.with(200);
        for (member, told) in result.as_object().unwrap().iter().filter(|(member, _)| *member != "status") {
            assert_eq!(*told, stored[member], "{member} of {}", result["id"]);
        }
    }
    let categories: Vec<Option<&str>> = results.iter().map(|result| result["category"].as_str()).collect();
    let coffee = Some("coffee_shop");
    assert_eq!(categories, [coffee, coffee, None, coffee, coffee], "nothing is said of a row that has a successor");
    assert_eq!(app.ingest(&[odd]).await[0], results[3]);
}
