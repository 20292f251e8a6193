//! Counts and progress as they change, and the queue as somebody likes to see it.

use serde_json::{Value, json};
use txcat::access::Role;

use super::{
    browser::{ENTER, ESCAPE, Screen, browser},
    person, place,
};
use crate::{
    harness::{App, PATIENCE},
    recategorize::api::{service, until},
};

/// The next event's data.
async fn event(stream: &mut reqwest::Response) -> Value {
    let heard = async {
        let mut text = String::new();
        loop {
            let chunk = stream.chunk().await.unwrap().expect("the stream has ended");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            let data = text.lines().find_map(|line| line.strip_prefix("data: "));
            if let Some(data) = data.filter(|_| text.ends_with("\n\n")) {
                return serde_json::from_str(data).unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("nothing is heard")
}

#[tokio::test]
async fn all_who_listen_hear_what_waits_as_it_changes_and_the_streams_end_with_the_service() {
    let app = App::start().await;
    let listen = async || app.request("GET", "/v1/reviews/live").send().await.unwrap();
    let (mut one, mut other) = (listen().await, listen().await);
    assert_eq!(one.headers()["content-type"], "text/event-stream");
    assert_eq!(event(&mut one).await, json!({ "lanes": [] }));
    assert_eq!(event(&mut other).await, json!({ "lanes": [] }));
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00")]).await;
    for stream in [&mut one, &mut other] {
        let heard = event(stream).await;
        assert_eq!((&heard["lanes"][0]["lane"], &heard["lanes"][0]["rows"]), (&json!("doubtful"), &json!(1)));
    }
    // Who comes later hears at once what the others know.
    assert_eq!(event(&mut listen().await).await["lanes"][0]["rows"], 1);
    drop(app);
    let ended = async { while one.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the service waits for who listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_applied_and_undone_is_heard_to_its_end() {
    let app = service(60).await;
    let _worker = app.work();
    let mut stream = app.request("GET", "/jobs/live").send().await.unwrap();
    assert_eq!(event(&mut stream).await, json!({ "jobs": [] }));
    let body = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    let run = app.post("/v1/recategorizations", &body).await.with(202)["id"].clone();
    let mut heard = async |state: &str| loop {
        let jobs = event(&mut stream).await["jobs"].clone();
        if jobs[0]["state"] == state {
            return jobs[0].clone();
        }
    };
    let changes = until(&app, &run, "previewed").await["changes"][0]["rows"].clone();
    assert!(changes.as_u64() > Some(0));
    heard("previewed").await;
    for (step, state, body) in
        [("apply", "applied", json!({ "override": "all of it is to change" })), ("undo", "undone", json!({}))]
    {
        app.post(&format!("/v1/recategorizations/{run}/{step}"), &body).await.with(202);
        let told = heard(state).await;
        assert_eq!((&told["done"], &told["all"], &told["under_way"]), (&changes, &changes, &json!(false)), "{told}");
    }
}

#[tokio::test]
async fn who_gets_no_stream_is_told_and_a_stream_that_ends_makes_room() {
    let app = App::start_with_streams(1).await;
    let mut stream = app.request("GET", "/v1/reviews/live").send().await.unwrap();
    event(&mut stream).await;
    assert_eq!(app.get("/v1/reviews/live").await.with(503)["type"], "urn:txcat:problem:too-many-streams");
    drop(stream);
    let room = async {
        while app.request("GET", "/v1/reviews/live").send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, room).await.expect("a stream that ended takes a place");
}

#[tokio::test]
async fn a_view_is_its_owner_s_or_everybody_s_and_its_name_stands_for_the_latest() {
    let mut app = App::start().await;
    let (analyst, colleague) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    app.use_key(&analyst);
    let view = |name: &str, shared: bool, filter: Value| json!({ "name": name, "shared": shared, "filter": filter });
    let audits = json!({ "lane": "audit" });
    app.post("/v1/reviews/views", &view("Audits", true, audits.clone())).await.with(201);
    app.post("/v1/reviews/views", &view("Mine", false, json!({ "text": "corner" }))).await.with(201);
    let inns = json!({ "lane": "doubtful", "text": "inn", "reason": "low_confidence", "category": "restaurant" });
    let kept = app.post("/v1/reviews/views", &view("Mine", false, inns.clone())).await.with(201);
    let names = |listed: &Value| -> Vec<String> {
        listed["views"].as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&kept), ["Audits", "Mine"]);
    assert_eq!((&kept["views"][1]["filter"], &kept["views"][1]["own"]), (&inns, &json!(true)));
    for wrong in
        [view(" ", true, json!({})), view("x", true, json!({ "lane": "fast" })), json!({ "name": "x", "color": 1 })]
    {
        app.post("/v1/reviews/views", &wrong).await.with(422);
    }
    let page = app.get("/review").await.with(200);
    assert!(
        page.as_str()
            .unwrap()
            .contains("/review?lane=doubtful&amp;text=inn&amp;reason=low_confidence&amp;category=restaurant")
    );
    app.use_key(&colleague);
    let seen = app.get("/v1/reviews/views").await.with(200);
    assert_eq!(names(&seen), ["Audits"]);
    assert_eq!((&seen["views"][0]["own"], &seen["views"][0]["filter"]), (&json!(false), &audits));
    let one = format!("/v1/reviews/views/{}", seen["views"][0]["id"]);
    assert_eq!(app.send(app.request("DELETE", &one)).await.with(404)["type"], "urn:txcat:problem:unknown-view");
    app.use_key(&analyst);
    app.send(app.request("DELETE", &one)).await.with(204);
    assert_eq!(names(&app.get("/v1/reviews/views").await.with(200)), ["Mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_counts_live_and_keeps_a_view_and_jobs_show_their_progress() {
    let mut app = App::start().await;
    let _worker = app.work();
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let admin = person(&app, "admin-1", Role::Admin).await;
    browser.sign_in(&app, &admin).await;
    app.use_key(&admin);
    browser.until("document.body.dataset.live").await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00")]).await;
    browser.until("document.querySelector('.count[data-lane=doubtful]').textContent === '1'").await;
    // Who had nothing to do gets it.
    browser.until("document.querySelector('#detail article').dataset.transaction === 'a'").await;

    browser.open(&app, "/review?text=corner").await;
    browser.ready().await;
    browser.evaluate("document.querySelector('#views summary').focus()").await;
    browser.press(ENTER).await;
    browser.until("document.getElementById('views').open").await;
    browser.evaluate("document.getElementById('view-name').focus()").await;
    browser.press(&format!("Corners{ENTER}")).await;
    browser.until("document.querySelector('#views li a')?.textContent === 'Corners'").await;
    browser.open(&app, "/review").await;
    browser.ready().await;
    browser.evaluate("document.querySelector('#views summary').click()").await;
    browser.evaluate("document.querySelector('#views li a').focus()").await;
    browser.press(ENTER).await;
    browser.until("new URLSearchParams(location.search).get('text') === 'corner'").await;
    browser.ready().await;
    browser.evaluate("document.querySelector('#views summary').click()").await;
    browser.evaluate("document.querySelector('#views button[data-forget]').click()").await;
    browser.until("!document.querySelector('#views li') && document.activeElement.matches('#views summary')").await;
    browser.evaluate("document.getElementById('view-name').focus()").await;
    browser.press(ESCAPE).await;
    browser.until("!document.getElementById('views').open && document.activeElement.matches('#views summary')").await;

    browser.open(&app, "/jobs").await;
    browser.until("document.body.dataset.live").await;
    let begun = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    app.post("/v1/recategorizations", &begun).await.with(202);
    browser
        .until("document.querySelector('[data-job=recategorization-1] [data-state]').textContent === 'previewed'")
        .await;
    browser.until("document.querySelector('[data-job=recategorization-1] progress').value === 1").await;
    browser.evaluate("document.querySelector('[data-job=recategorization-1] a').focus()").await;
    browser.press(ENTER).await;
    browser.until("document.getElementById('diff') && document.body.textContent.includes('a better engine')").await;
    browser.close().await;
}
