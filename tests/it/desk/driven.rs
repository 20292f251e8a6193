//! More of the desk in a real browser: a merchant as a whole, labels given again, one transaction's life.

use serde_json::json;
use txcat::access::Role;

use super::{
    browser::{ENTER, Screen, browser},
    claimed, decision, person, place, stands,
};
use crate::harness::App;

const TAB: &str = "\u{E004}";
const UP: &str = "\u{E013}";

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_shown_before_it_does_anything_and_is_taken_back_from_the_same_page() {
    let mut app = App::start().await;
    app.ingest(&[
        place("a", "acc-1", "CORNER PLACE", "5.00"),
        place("b", "acc-2", "CRNR PLC", "5.00"),
        place("c", "acc-3", "CRNR PLC", "7.00"),
    ])
    .await;
    claimed(&app, json!({})).await;
    app.post("/v1/reviews/releases", &json!({ "group": "debit:crnr plc" })).await;
    claimed(&app, json!({ "group": "debit:corner place" })).await;
    app.post("/v1/reviews/decisions", &decision("a", "bar_and_nightlife", "merchant")).await.with(201);
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    app.use_key(&analyst);

    browser.open(&app, "/merchants/one?key=crnr%20plc").await;
    browser.until("document.body.dataset.ready").await;
    browser.evaluate("document.getElementById('into').focus()").await;
    browser.press(&format!("corner place{ENTER}")).await;
    browser.until("document.getElementById('preview').open && document.activeElement.id === 'apply'").await;
    let shown = browser.evaluate("document.getElementById('preview').textContent").await;
    let shown = shown.as_str().unwrap();
    assert!(shown.contains("2 rows decided, 2 of them with another category"), "{shown}");
    assert!(shown.contains("“crnr plc” counts as “corner place”"), "{shown}");
    assert_eq!(stands(&app, "b").await, "restaurant by stage, pending", "a preview changes something");
    browser.press(ENTER).await;
    browser.said("Done: 2 rows decided").await;
    browser.until("document.querySelector('h1').textContent === 'corner place'").await;
    assert_eq!(stands(&app, "b").await, "bar_and_nightlife by merchant_rule, reviewed");

    // The row tells whose word covers it.
    browser.open(&app, "/transactions/b").await;
    let life = browser.evaluate("document.querySelector('.life').textContent").await;
    assert!(life.as_str().unwrap().contains("merged crnr plc into corner place"), "{life}");
    browser.evaluate("document.querySelector('button[data-undo]').focus()").await;
    browser.press(ENTER).await;
    browser.said("Undone: 2 rows are as before").await;
    assert_eq!(stands(&app, "b").await, "restaurant by stage, pending");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_person_labels_blind_by_keyboard_alone_and_kappa_is_shown() {
    let mut app = App::start_with_second_share(1.0).await;
    app.ingest(&[
        place("a", "acc-1", "CORNER PLACE", "9.00"),
        place("b", "acc-1", "GRAND HALL", "7.00"),
        place("c", "acc-1", "LITTLE NOOK", "5.00"),
    ])
    .await;
    let (analyst, colleague) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    app.use_key(&analyst);
    claimed(&app, json!({ "count": 3 })).await;
    for (id, category) in [("a", "fuel"), ("b", "restaurant"), ("c", "fuel")] {
        app.post("/v1/reviews/decisions", &decision(id, category, "transaction")).await.with(201);
    }
    let Some(browser) = browser(Screen::Phone, true).await else { return };
    browser.sign_in(&app, &colleague).await;
    browser.open(&app, "/review/second").await;
    browser.until("document.body.dataset.ready").await;
    let page = browser.client.source().await.unwrap();
    let shown = page.split("<datalist").next().unwrap();
    assert!(!shown.contains("fuel"), "what the first person said shows: {shown}");
    let shows =
        |text: &str| format!("document.querySelector('#asked article:not([hidden]) h2').textContent === '{text}'");
    // A typed category; who has gone on when its answer comes stays where they are.
    browser.hold("/v1/reviews/second-labels").await;
    browser.press(&format!("cfuel{ENTER}")).await;
    browser.until("document.querySelector('#asked article:not([hidden])').dataset.picked === 'fuel'").await;
    browser.press(&format!("{ENTER}j")).await;
    browser.until(&shows("GRAND HALL")).await;
    browser.release().await;
    browser.said("fuel: said").await;
    assert_eq!(browser.evaluate(&shows("GRAND HALL")).await, json!(true), "the row at hand was left");
    // Suggestions by number, and what was passed over.
    browser.press("j").await;
    browser.until(&shows("LITTLE NOOK")).await;
    browser.press("k").await;
    browser.until(&shows("GRAND HALL")).await;
    let restaurant = "[...document.querySelectorAll('#asked article:not([hidden]) .choice')] \
                      .findIndex((choice) => choice.dataset.category === 'restaurant') + 1";
    let place = browser.evaluate(restaurant).await;
    browser.press(&format!("{place}{ENTER}")).await;
    browser.said("restaurant: said").await;
    browser.until(&shows("LITTLE NOOK")).await;
    browser.press(&format!("crestaurant{ENTER}")).await;
    browser.press(ENTER).await;
    // Two of three alike; by chance (2/3)(1/3) + (1/3)(2/3) = 4/9: (2/3 − 4/9) / (1 − 4/9) = 0.4.
    browser.until("!document.getElementById('empty').hidden && document.body.textContent.includes('0.400')").await;
    for path in ["/accuracy", "/review"] {
        browser.open(&app, path).await;
        browser.until("/kappa (is )?0.40/.test(document.body.textContent.replaceAll(/\\s+/g, ' '))").await;
    }
    app.use_key(&colleague);
    let file = app.get("/v1/reviews/second-labels").await.with(200);
    let mut rows = csv::Reader::from_reader(file.as_str().unwrap().as_bytes());
    let told: Vec<(String, String, String)> = rows
        .records()
        .map(Result::unwrap)
        .map(|row| (row[1].to_owned(), row[3].to_owned(), row[5].to_owned()))
        .collect();
    let pair = |id: &str, first: &str, second: &str| (id.to_owned(), first.to_owned(), second.to_owned());
    assert_eq!(
        told,
        [pair("a", "fuel", "fuel"), pair("b", "restaurant", "restaurant"), pair("c", "fuel", "restaurant")]
    );
    assert_eq!(stands(&app, "c").await, "fuel by correction, reviewed");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_desk_and_from_the_list_one_gets_to_a_transaction_s_life() {
    let app = App::start().await;
    app.ingest(&[place("a/b?c", "acc-1", "CORNER PLACE", "9.00")]).await;
    let Some(browser) = browser(Screen::Desktop, true).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    for from in ["#detail a[href^=\"/transactions/\"]", "td a[href^=\"/transactions/\"]"] {
        browser.until(&format!("document.querySelector('{from}')")).await;
        browser.evaluate(&format!("document.querySelector('{from}').focus()")).await;
        browser.press(ENTER).await;
        browser.until("document.querySelector('.life')").await;
        let told = browser.evaluate("document.querySelector('.facts').textContent").await;
        assert!(told.as_str().unwrap().contains("a/b?c"), "{told}");
        browser.open(&app, "/transactions").await;
        browser.press(TAB).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_what_the_dialog_shows_whatever_is_pressed_meanwhile() {
    let mut app = App::start().await;
    app.ingest(&[
        place("corner-0", "acc-1", "CORNER PLACE", "9.00"),
        place("corner-1", "acc-2", "CORNER PLACE", "9.00"),
        place("grand-0", "acc-1", "GRAND HALL", "1.00"),
        place("grand-1", "acc-2", "GRAND HALL", "1.00"),
    ])
    .await;
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    app.use_key(&analyst);
    assert_eq!(browser.selected().await, "corner-0");

    // Another category, and another merchant, while the rows are counted.
    browser.hold("/review/preview").await;
    browser.press("a2j").await;
    browser.release().await;
    browser.until("document.querySelectorAll('#preview[open] tbody tr').length === 2").await;
    assert_eq!(browser.evaluate("document.querySelector('#preview h2').textContent").await, "Restaurant for 2 rows");

    // By arrow keys through the scopes: the focus stays on them, and one row is on one account.
    browser.evaluate("document.querySelector('#preview [name=scope]:checked').focus()").await;
    for (scope, rows) in [("account_merchant", 1), ("transaction", 1), ("merchant", 2)] {
        browser.press(UP).await;
        browser.until(&format!("document.querySelector('#preview form').dataset.scope === '{scope}'")).await;
        browser.until(&format!("document.querySelectorAll('#preview tbody tr').length === {rows}")).await;
        assert_eq!(browser.evaluate("document.activeElement.value").await, scope, "the focus is elsewhere");
    }
    browser.press(ENTER).await;
    browser.said("restaurant: 2 rows decided").await;
    for (id, stood) in [("corner-0", "restaurant by correction, reviewed"), ("grand-0", "restaurant by stage, pending")]
    {
        assert_eq!(stands(&app, id).await, stood);
    }
    browser.press("u").await;
    browser.said("2 rows are as before").await;
    browser.until("document.querySelector('#detail article').dataset.transaction === 'corner-0'").await;

    // An escalation is about the merchant that it was begun with.
    browser.press("e").await;
    browser.until("document.getElementById('escalate').open").await;
    browser.evaluate("document.querySelector('#queue li[data-transaction=\"grand-0\"] a').click()").await;
    browser.until("document.querySelector('#detail article').dataset.transaction === 'grand-0'").await;
    browser.evaluate("document.getElementById('escalate-note').focus()").await;
    browser.press(&format!("whose?{TAB}{ENTER}")).await;
    browser.said("Escalated.").await;
    browser.until("!document.getElementById('queue').textContent.includes('CORNER')").await;
    assert_eq!(browser.selected().await, "grand-0");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enter_follows_a_link_or_opens_what_folds_and_decides_nothing() {
    let mut app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "9.00")]).await;
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    for (pressed, done) in
        [("a.skip", "location.hash === '#main'"), ("#views summary", "document.getElementById('views').open")]
    {
        browser.evaluate(&format!("document.querySelector('{pressed}').focus()")).await;
        browser.press(ENTER).await;
        browser.until(done).await;
    }
    app.use_key(&analyst);
    assert_eq!(stands(&app, "a").await, "restaurant by stage, pending");
    browser.close().await;
}
