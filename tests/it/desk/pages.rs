//! Who gets in to the pages, and what keeps others out.

use serde_json::json;
use txcat::access::{Role, Scope};

use super::{claimed, person, place};
use crate::harness::{Answer, App, with};

/// Signs in with a key; the cookie, if one is given.
async fn sign_in(app: &App, key: &str) -> (Answer, Option<String>) {
    let body = format!("key={key}");
    let form = app.request("POST", "/sign-in").header("content-type", "application/x-www-form-urlencoded").body(body);
    let answer = app.send(form).await;
    let cookie = answer.headers.get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
    (answer, cookie)
}

async fn with_cookie(app: &App, method: &str, path: &str, cookie: &str, more: &[(&str, &str)]) -> Answer {
    let mut request = app.request(method, path).header("cookie", cookie.split(';').next().unwrap());
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    if method == "POST" {
        request = request.json(&json!({}));
    }
    app.send(request).await
}

fn html(answer: &Answer) -> &str {
    answer.body.as_str().unwrap()
}

#[tokio::test]
async fn a_person_signs_in_with_a_key_and_a_program_does_not() {
    let app = App::start_without_redirects().await;
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    let program = app.make_key("program", &[Scope::Admin], None).await;
    let stranger = app.get("/review").await;
    assert_eq!((stranger.status, &stranger.headers["location"]), (303, &"/sign-in?next=%2Freview".parse().unwrap()));
    for wrong in [program.as_str(), "nonsense", ""] {
        let (answer, cookie) = sign_in(&app, wrong).await;
        assert_eq!((answer.status, cookie), (422, None), "{wrong}");
        assert!(html(&answer).contains("no person’s key"));
    }
    let (answer, cookie) = sign_in(&app, &analyst).await;
    let cookie = cookie.unwrap();
    assert_eq!(answer.status, 303);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let page = with_cookie(&app, "GET", "/review", &cookie, &[]).await;
    assert_eq!(page.status, 200);
    assert!(html(&page).contains("analyst-1"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    with_cookie(&app, "GET", "/sign-in", &cookie, &[]).await;
    let out = with_cookie(&app, "POST", "/sign-out", &cookie, &[]).await;
    assert_eq!(out.status, 303);
    assert_eq!(with_cookie(&app, "GET", "/review", &cookie, &[]).await.status, 303, "the session has not ended");
}

#[tokio::test]
async fn a_removed_person_is_out_at_once() {
    let app = App::start_without_redirects().await;
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    let cookie = sign_in(&app, &analyst).await.1.unwrap();
    assert_eq!(with_cookie(&app, "GET", "/v1/reviews", &cookie, &[]).await.status, 200);
    app.store.revoke_key("analyst-1", txcat::access::LOCAL, txcat::clock::now()).await.unwrap();
    with_cookie(&app, "GET", "/v1/reviews", &cookie, &[]).await.with(401);
}

#[tokio::test]
async fn a_reader_looks_and_an_analyst_decides() {
    let app = App::start_without_redirects().await;
    let reader = person(&app, "rita", Role::Reader).await;
    let cookie = sign_in(&app, &reader).await.1.unwrap();
    let accuracy = with_cookie(&app, "GET", "/accuracy", &cookie, &[]).await;
    assert_eq!(accuracy.status, 200);
    assert!(!html(&accuracy).contains("href=\"/review\""), "a reader is led to a page that is not hers");
    let refused = with_cookie(&app, "GET", "/review", &cookie, &[]).await;
    assert_eq!(refused.status, 403);
    assert!(html(&refused).contains("review"));
    with_cookie(&app, "GET", "/v1/reviews", &cookie, &[]).await.with(403);
}

#[tokio::test]
async fn a_change_with_a_cookie_needs_what_only_our_page_knows() {
    let app = App::start_without_redirects().await;
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    let cookie = sign_in(&app, &analyst).await.1.unwrap();
    let page = with_cookie(&app, "GET", "/review", &cookie, &[]).await;
    let csrf = html(&page).split("name=\"csrf\" content=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let claims = "/v1/reviews/claims";
    for without in [&[][..], &[("x-csrf-token", "")], &[("x-csrf-token", "0123")]] {
        let forged = with_cookie(&app, "POST", claims, &cookie, without).await.with(403);
        assert_eq!(forged["type"], "urn:txcat:problem:forged");
    }
    with_cookie(&app, "POST", claims, &cookie, &[("x-csrf-token", &csrf)]).await.with(200);
    let elsewhere = [("x-csrf-token", csrf.as_str()), ("origin", "https://evil.example")];
    with_cookie(&app, "POST", claims, &cookie, &elsewhere).await.with(403);
    let other = person(&app, "analyst-2", Role::Analyst).await;
    let others = sign_in(&app, &other).await.1.unwrap();
    with_cookie(&app, "POST", claims, &others, &[("x-csrf-token", &csrf)]).await.with(403);
}

#[tokio::test]
async fn a_page_elsewhere_changes_nothing_on_an_open_service() {
    let app = App::start().await;
    let claim = app.request("POST", "/v1/reviews/claims").header("origin", "https://evil.example").json(&json!({}));
    app.send(claim).await.with(403);
    let own = format!("http://{}", app.address);
    let claim = app.request("POST", "/v1/reviews/claims").header("origin", own).json(&json!({}));
    app.send(claim).await.with(200);
}

#[tokio::test]
async fn a_run_whose_rows_are_kept_no_longer_leaves_the_page_to_the_others() {
    let app = App::start().await;
    let stored = async |seed, rows, share| {
        crate::tracker::stored(&app.store, "adapter", &crate::tracker::answered(seed, rows, share)).await
    };
    let (large, other) = (stored(1, 240, 0.9).await, stored(2, 80, 0.8).await);
    let page = async |path: &str| html(&app.get(path).await).to_owned();
    assert!(page("/accuracy").await.contains(&format!("Run {large}: adapter")));
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    sqlx::query("delete from eval_items where run_id = $1").bind(large).execute(&pool).await.unwrap();
    assert!(page("/accuracy").await.contains(&format!("Run {other}: adapter")));
    let empty = format!("eval run {large} has no rows");
    let shown = page(&format!("/accuracy?run={large}")).await;
    assert!(shown.contains(&empty) && shown.contains(&format!("<option value=\"{other}\"")), "{shown}");
    let shown = page(&format!("/accuracy?run={other}&with={large}")).await;
    assert!(shown.contains("share no rows to compare") && shown.contains(&format!("Run {other}: adapter")), "{shown}");
    for (query, status) in [("run=", 200), ("run=latest", 400), ("with=latest", 400), ("run=999999", 404)] {
        assert_eq!(app.get(&format!("/accuracy?{query}")).await.status, status, "{query}");
    }
    sqlx::query("delete from eval_items").execute(&pool).await.unwrap();
    assert_eq!(app.get("/accuracy").await.status, 200);
    pool.close().await;
}

#[tokio::test]
async fn every_page_shows_what_is_stored_and_loads_nothing_from_elsewhere() {
    let app = App::start().await;
    let recent = with(place("b1", "acc-1", "GRAND HALL", "9.00"), json!({ "posted_at": txcat::clock::now() }));
    app.ingest(&[place("a1", "acc-1", "CORNER <b>PLACE</b>", "5.00"), recent]).await;
    app.post("/v1/transactions/b1/correction", &json!({ "category": "fast_food", "scope": "transaction" }))
        .await
        .with(200);
    app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    let run = crate::tracker::stored(&app.store, "adapter", &crate::tracker::answered(1, 80, 0.8)).await;
    let other = crate::tracker::stored(&app.store, "few_shot", &crate::tracker::answered(2, 80, 0.8)).await;
    let again = crate::tracker::stored(&app.store, "adapter", &crate::tracker::answered(3, 80, 0.9)).await;
    let begun = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    let recategorization = app.post("/v1/recategorizations", &begun).await.with(202)["id"].clone();
    for (path, shows) in [
        ("/review".to_owned(), "CORNER"),
        ("/review/detail?transaction=a1&group=debit%3Acorner".to_owned(), "What is it?"),
        ("/review/preview?transaction=a1&category=fast_food&scope=merchant".to_owned(), "It will be remembered"),
        (format!("/accuracy?run={run}&with={other}"), "Rows that only one has right"),
        ("/transactions".to_owned(), "GRAND HALL"),
        ("/merchants?text=hall".to_owned(), "grand hall"),
        ("/adapters".to_owned(), "None is registered"),
        ("/datasets".to_owned(), "corrections"),
        ("/jobs".to_owned(), "No fine-tuning job"),
        ("/jobs".to_owned(), "a better engine"),
        (format!("/jobs/recategorizations/{recategorization}"), "a better engine"),
        (format!("/accuracy?run={again}"), "Over time, on test_recent"),
        (format!("/accuracy?run={again}"), "The confusion matrix"),
        (format!("/accuracy/rows?run={run}&with={other}"), "row by row"),
        ("/transactions/a1".to_owned(), "Nobody has decided it"),
        ("/merchants/one?key=grand%20hall".to_owned(), "Say something of all of it"),
        ("/review/second".to_owned(), "Nothing is to be labelled again by you"),
        ("/advice".to_owned(), "Six questions"),
    ] {
        let page = app.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let text = html(&page);
        assert!(text.contains(shows), "{path} does not show {shows}: {text}");
        assert!(!text.contains("<b>PLACE"), "{path}: a statement text becomes markup");
        for elsewhere in ["src=\"http", "href=\"http", "url(", "<script>", " style=\""] {
            assert!(!text.contains(elsewhere), "{path}: {elsewhere}");
        }
    }
    for asset in [
        "style.css",
        "api.js",
        "review.js",
        "trail.js",
        "merchant.js",
        "second.js",
        "jobs.js",
        "icon.svg",
        "said.js",
        "keys.js",
    ] {
        assert_eq!(app.get(&format!("/assets/{asset}")).await.status, 200, "{asset}");
    }
    app.get("/assets/nothing.js").await.with(404);
}

#[tokio::test]
async fn a_filter_that_says_nothing_is_told_so_and_shows_and_leases_nothing() {
    let mut app = App::start_without_redirects().await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00")]).await;
    let (analyst, other) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    let cookie = sign_in(&app, &analyst).await.1.unwrap();
    for path in [
        "/review?category=Coffee%20Shop",
        "/review?reason=boredom",
        "/transactions?category=Coffee%20Shop",
        "/transactions?status=forgotten",
        "/transactions?account=%07",
    ] {
        let page = with_cookie(&app, "GET", path, &cookie, &[]).await;
        assert_eq!(page.status, 200, "{path}");
        let text = html(&page);
        assert!(text.contains(" aria-describedby=\"refused\"") && text.contains(" must "), "{path}: {text}");
        assert!(!text.contains("CORNER"), "{path} shows everything");
    }
    let list = with_cookie(&app, "GET", "/review/list?category=Coffee%20Shop", &cookie, &[]).await;
    assert!(!html(&list).contains("CORNER"), "{}", list.body);
    app.use_key(&other);
    assert_eq!(claimed(&app, json!({})).await, [("debit:corner place".to_owned(), 1)], "somebody else has it");
    let empty = with_cookie(&app, "GET", "/transactions?account=&category=&status=", &cookie, &[]).await;
    assert!(html(&empty).contains("CORNER"), "{}", empty.body);
}

#[tokio::test]
async fn five_wrong_keys_lock_a_person_out_for_a_quarter_of_an_hour() {
    let app = App::start_without_redirects().await;
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    let other = person(&app, "analyst-2", Role::Analyst).await;
    let wrong = format!("{}_{}", analyst.rsplit_once('_').unwrap().0, "0".repeat(64));
    let strangers = "txcat_000000000000_00";
    for _ in 0..4 {
        sign_in(&app, &wrong).await.0.with(422);
    }
    assert_eq!(sign_in(&app, &analyst).await.0.status, 303, "four are no reason");
    let mut told = Vec::new();
    for _ in 0..7 {
        told.push(sign_in(&app, &wrong).await.0.with(422));
        told.push(sign_in(&app, strangers).await.0.with(422));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "who guesses learns whose key is locked");
    let (answer, cookie) = sign_in(&app, &analyst).await;
    assert!(html(&answer).contains("locked until"), "{}", answer.body);
    assert_eq!((answer.status, cookie), (429, None));
    assert_eq!(sign_in(&app, &other).await.0.status, 303, "others are not locked out");
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    let later = "update sign_in_failures set last_at = last_at - interval '16 minutes'";
    sqlx::query(later).execute(&pool).await.unwrap();
    assert_eq!(sign_in(&app, &analyst).await.0.status, 303, "a quarter of an hour later");
}

#[tokio::test]
async fn a_wrong_address_is_a_page_for_people_and_json_for_programs() {
    let app = App::start().await;
    for (path, says) in [("/nowhere", "No such route"), ("/transactions/nobody", "No such transaction")] {
        let shown = app.send(app.request("GET", path).header("accept", "text/html,*/*;q=0.8")).await;
        assert_eq!(shown.status, 404);
        assert!(html(&shown).contains(&format!("<h1>{says}</h1>")), "{path}: {}", shown.body);
        let told = app.get(path).await.with(404);
        assert_eq!(told["title"], says);
    }
}
