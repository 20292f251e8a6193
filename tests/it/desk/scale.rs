//! Ten people at once at a desk over a million transactions.

use std::time::{Duration, Instant};

use serde_json::json;
use txcat::access::Role;

use super::person;
use crate::harness::App;

const PEOPLE: usize = 10;
const DECISIONS: usize = 100;

/// A million rows at 20,000 merchants; one in ten waits.
const MILLION: [&str; 5] = [
    "insert into rendered_texts (hash, text) values (decode(repeat('00', 16), 'hex'), 'text')",
    "insert into transactions (id, account_id, posted_at, amount, currency, direction, descriptor, descriptor_key, status,
        content_hash, received_at)
     select 't' || n, 'acc-' || n % 30000, timestamptz '2026-01-01' + n * interval '20 seconds', 1 + n % 400, 'USD', 'debit',
        'MERCHANT ' || n % 20000, 'merchant ' || n % 20000, 'posted', decode(repeat('00', 32), 'hex'), now()
     from generate_series(1, 1000000) as n",
    "insert into predictions (transaction_id, category, confidence, alternatives, evidence, stage, engine, taxonomy,
        text_hash, made_at)
     select id, 'restaurant', case when amount % 10 = 0 then 0.4 else 0.95 end, '[]', '[]', 'scripted', 'scripted@1',
        'consumer', decode(repeat('00', 16), 'hex'), now()
     from transactions",
    "insert into in_force (transaction_id, posted_at, category, decided_by, prediction_id, confidence, review_status)
     select transactions.id, posted_at, category, 'stage', predictions.id, confidence,
        case when confidence < 0.5 then 'pending' else 'accepted' end
     from transactions join predictions on predictions.transaction_id = transactions.id",
    "insert into review_items (transaction_id, reason, group_key, doubt, amount, currency, opened_at)
     select id, 'low_confidence', 'debit:' || descriptor_key, 0.6, amount, currency, now()
     from transactions join in_force on in_force.transaction_id = id where review_status = 'pending'",
];

fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "stores a million transactions, which takes a minute"]
async fn ten_people_decide_a_thousand_times_and_nothing_is_decided_twice_or_lost() {
    let app = App::start().await;
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    let begun = Instant::now();
    for statement in MILLION {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    sqlx::query("vacuum analyze").execute(&pool).await.unwrap();
    println!("a million rows stored in {:.0?}", begun.elapsed());
    let mut keys = Vec::new();
    for n in 0..PEOPLE {
        keys.push(person(&app, &format!("person-{n}"), Role::Analyst).await);
    }
    let begun = Instant::now();
    let counted = app.send(app.request("GET", "/v1/reviews/numbers").bearer_auth(&keys[0])).await.with(200);
    println!("{} rows wait, counted in {:.0?}", counted["lanes"][0]["rows"], begun.elapsed());

    let begun = Instant::now();
    let work = keys.iter().map(|key| {
        let app = &app;
        async move {
            let (mut claims, mut decisions, mut rows) = (Vec::new(), Vec::new(), 0);
            for turn in 0..DECISIONS {
                let started = Instant::now();
                let claim = app.request("POST", "/v1/reviews/claims").bearer_auth(key).json(&json!({ "count": 1 }));
                let claimed = app.send(claim).await.with(200);
                claims.push(started.elapsed());
                let id = &claimed["groups"][0]["transaction"]["id"];
                let scope = ["transaction", "account_merchant", "merchant"][turn % 3];
                let said = json!({ "transaction_id": id, "category": "fast_food", "scope": scope });
                let started = Instant::now();
                let decide = app.request("POST", "/v1/reviews/decisions").bearer_auth(key).json(&said);
                let decided = app.send(decide).await.with(201);
                decisions.push(started.elapsed());
                rows += decided["rows"].as_u64().unwrap();
            }
            (claims, decisions, rows)
        }
    });
    let (mut claims, mut decisions, mut rows) = (Vec::new(), Vec::new(), 0);
    for (hers, said, covered) in futures::future::join_all(work).await {
        claims.extend(hers);
        decisions.extend(said);
        rows += covered;
    }
    let took = begun.elapsed();
    let (all, distinct, changed): (i64, i64, i64) = sqlx::query_as(
        "select count(*), count(distinct transaction_id), (select count(*) from review_changes) from review_actions",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let (twice, held): (i64, i64) = sqlx::query_as(
        "select
            (select count(*) from (
                select transaction_id from review_changes group by transaction_id having count(*) > 1
            ) as twice),
            (select count(*) from in_force where category = 'fast_food' and review_status = 'reviewed')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    println!(
        "{all} decisions on {rows} rows by {PEOPLE} people in {took:.1?}; a decision p50 {:.1?}, p95 {:.1?}, most {:.1?}; \
         a claim p50 {:.1?}, p95 {:.1?}",
        quantile(&mut decisions, 0.5),
        quantile(&mut decisions, 0.95),
        quantile(&mut decisions, 1.0),
        quantile(&mut claims, 0.5),
        quantile(&mut claims, 0.95),
    );
    let asked = (PEOPLE * DECISIONS) as i64;
    assert_eq!((all, distinct, twice), (asked, asked, 0), "decided twice");
    assert_eq!((changed, held), (rows as i64, rows as i64), "a decision was lost");
    pool.close().await;
}
