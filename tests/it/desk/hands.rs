//! What hands do at the desk in a real browser: keys that are held or pressed twice, words that are half typed, rows that
//! are slow to come, and a service that goes away.

use std::sync::Arc;

use serde_json::json;
use txcat::{access::Role, clock, domain::Taxonomy};

use super::{
    browser::{Browser, ENTER, ESCAPE, Screen, browser},
    person, place, stands,
};
use crate::{database::fresh_store, harness::App};

const DOWN: &str = "\u{E015}";
const WAITS: &str = "restaurant by stage, pending";
const DECIDED: &str = "restaurant by correction, reviewed";

/// Doubtful rows of merchants of their own, the first with most at risk.
const ROWS: [(&str, &str, &str); 5] = [
    ("a", "ALDER INN", "400.00"),
    ("b", "BIRCH INN", "390.00"),
    ("c", "CEDAR INN", "380.00"),
    ("d", "EBONY INN", "370.00"),
    ("e", "HAZEL INN", "360.00"),
];

/// A desk with so many rows, and somebody at it.
async fn desk(count: usize) -> Option<(App, Browser)> {
    let mut app = App::start().await;
    app.ingest(&ROWS[..count].iter().map(|(id, text, amount)| place(id, "acc-1", text, amount)).collect::<Vec<_>>())
        .await;
    let browser = browser(Screen::Desktop, false).await?;
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    app.use_key(&analyst);
    Some((app, browser))
}

/// Lets a held key come again; whether the page leaves it to the browser.
async fn again(browser: &Browser, key: &str) -> bool {
    let event =
        format!("new KeyboardEvent('keydown', {{ key: '{key}', repeat: true, bubbles: true, cancelable: true }})");
    browser.evaluate(&format!("document.activeElement.dispatchEvent({event})")).await == true
}

async fn shows(browser: &Browser, id: &str) {
    browser.until(&format!("document.querySelector('#detail article').dataset.transaction === '{id}'")).await;
    browser.ready().await;
}

async fn click(browser: &Browser, selector: &str) {
    browser.evaluate(&format!("document.querySelector('{selector}').click()")).await;
}

/// Whether no row is on its way off the list, and no dialog is open.
async fn is_at_rest(browser: &Browser) -> bool {
    browser.evaluate("!document.querySelector('#queue li.done, dialog[open]')").await == true
}

/// Lets every request fail until [`back`].
async fn away(browser: &Browser) {
    let gone = "(() => { window.sent = window.fetch; \
                window.fetch = () => Promise.reject(new TypeError('Failed to fetch')); })()";
    browser.evaluate(gone).await;
}

async fn back(browser: &Browser) {
    browser.evaluate("(() => { window.fetch = window.sent; })()").await;
}

async fn complains(browser: &Browser, text: &str) {
    browser.until(&format!("document.getElementById('trouble').textContent.includes('{text}')")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_key_does_nothing_more_and_who_presses_enter_twice_decides_one_row() {
    let Some((app, browser)) = desk(3).await else { return };
    for key in ["Enter", "s", "e", "a", "u", "2"] {
        again(&browser, key).await;
        assert!(is_at_rest(&browser).await, "{key}");
    }
    assert_eq!(browser.evaluate("document.getElementById('said').textContent").await, "", "u was heard");
    again(&browser, "j").await;
    shows(&browser, "b").await;
    browser.press("a").await;
    browser.until("document.activeElement.matches('#preview[open] button.main')").await;
    assert!(!again(&browser, "Enter").await, "a held Enter applies what nobody has read");
    browser.press(ESCAPE).await;
    browser.until("!document.getElementById('preview').open").await;

    // A row that has just come can't be accepted until its time is up, which is held back here.
    browser.evaluate("(() => { window.waiting = []; window.setTimeout = (work) => waiting.push(work); })()").await;
    let elapse = "waiting.splice(0).forEach((work) => work())";
    browser.press("k").await;
    browser.until("document.querySelector('#detail article').dataset.transaction === 'a'").await;
    browser.press(ENTER).await;
    assert!(is_at_rest(&browser).await, "a row is decided that has not been shown for a moment");
    browser.evaluate(elapse).await;
    browser.press(&format!("{ENTER}{ENTER}")).await;
    browser.said("1 row decided").await;
    shows_unsettled(&browser, "b").await;
    browser.press(ENTER).await;
    assert!(is_at_rest(&browser).await);
    assert_eq!([stands(&app, "a").await, stands(&app, "b").await], [DECIDED, WAITS]);
    browser.evaluate(elapse).await;
    browser.press(ENTER).await;
    shows_unsettled(&browser, "c").await;
    browser.until("!document.querySelector('#queue li.done')").await;
    assert_eq!([stands(&app, "b").await, stands(&app, "c").await], [DECIDED, WAITS]);
    browser.close().await;
}

async fn shows_unsettled(browser: &Browser, id: &str) {
    browser
        .until(&format!(
            "document.querySelector('#detail article').dataset.transaction === '{id}' \
             && document.querySelector('#detail [data-act=accept]').disabled"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enter_on_another_row_shows_it_and_the_list_is_one_step_of_the_tab_key() {
    let Some((app, browser)) = desk(3).await else { return };
    let steps = "[...document.querySelectorAll('#queue a')].filter((link) => link.tabIndex === 0) \
                 .map((link) => link.closest('li').dataset.transaction)";
    assert_eq!(browser.evaluate(steps).await, json!(["a"]));
    browser.evaluate("document.querySelector('#queue li[data-transaction=b] a').focus()").await;
    browser.press(ENTER).await;
    shows(&browser, "b").await;
    browser.press(DOWN).await;
    shows(&browser, "c").await;
    assert_eq!(browser.evaluate(steps).await, json!(["c"]));
    let text = browser.evaluate("document.querySelector('#detail .why dd').textContent").await;
    assert_eq!(text, "CEDAR INN, key cedar inn", "what the text tells beside the merchant is nothing here");
    assert_eq!([stands(&app, "a").await, stands(&app, "b").await], [WAITS, WAITS]);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_typed_by_its_name_and_what_is_none_is_never_decided_as_another() {
    let Some((app, browser)) = desk(1).await else { return };
    let name = browser.evaluate("document.querySelector('#categories option[value=fast_food]').textContent").await;
    browser.press(&format!("c{}{ENTER}", name.as_str().unwrap().to_uppercase())).await;
    browser.until("document.querySelector('#detail article').dataset.picked === 'fast_food'").await;
    browser.press(&format!("cfule{ENTER}")).await;
    complains(&browser, "“fule” is no category").await;
    let field = "(() => { const field = document.getElementById('category'); \
                 return [field.value, field.getAttribute('aria-invalid'), field === document.activeElement]; })()";
    assert_eq!(browser.evaluate(field).await, json!(["fule", "true", true]));
    browser.press(&format!("{ESCAPE}{ENTER}")).await;
    complains(&browser, "Pick a category first").await;
    assert!(is_at_rest(&browser).await);
    browser.press("1").await;
    assert_eq!(browser.evaluate(field).await, json!(["", null, false]));
    browser.press(ENTER).await;
    browser.said("restaurant: 1 row decided").await;
    assert_eq!(stands(&app, "a").await, DECIDED);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_takes_back_what_the_person_at_the_desk_decided_last() {
    let Some((app, browser)) = desk(3).await else { return };
    browser.press(ENTER).await;
    browser.said("1 row decided").await;
    shows(&browser, "b").await;
    // Undo waits for the decision that has no answer yet.
    browser.hold("/v1/reviews/decisions").await;
    browser.press(&format!("{ENTER}u")).await;
    browser.release().await;
    browser.said("Undone: BIRCH INN as restaurant. 1 row is as before").await;
    shows(&browser, "b").await;
    assert_eq!([stands(&app, "a").await, stands(&app, "b").await], [DECIDED, WAITS]);
    // What could not be sent can still be taken back, and not from the keyboard alone.
    away(&browser).await;
    browser.press("u").await;
    complains(&browser, "The service can\\'t be reached. Nothing was saved").await;
    back(&browser).await;
    click(&browser, "#detail [data-act=undo]").await;
    browser.said("Undone: ALDER INN as restaurant").await;
    shows(&browser, "a").await;
    assert_eq!(stands(&app, "a").await, WAITS);

    // Who signs in next in the same tab has nothing to undo.
    browser.press(ENTER).await;
    browser.said("1 row decided").await;
    browser.evaluate("document.querySelector('.who form').requestSubmit()").await;
    browser.until("location.pathname === '/sign-in'").await;
    let colleague = person(&app, "analyst-2", Role::Analyst).await;
    browser.sign_in(&app, &colleague).await;
    browser.press("u").await;
    browser.said("There is nothing of yours to undo").await;
    assert_eq!(stands(&app, "a").await, DECIDED);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_reach_no_row_whose_details_are_not_shown() {
    let Some((app, browser)) = desk(5).await else { return };
    browser.hold("/review/detail").await;
    click(&browser, "#queue li[data-transaction=e] a").await;
    assert_eq!(browser.evaluate("document.getElementById('detail').textContent.trim()").await, "Loading…");
    browser.press(&format!("2sea{ENTER}")).await;
    assert!(is_at_rest(&browser).await);
    browser.release().await;
    shows(&browser, "e").await;
    assert_eq!(browser.evaluate("document.querySelector('#detail article').dataset.picked").await, "restaurant");

    away(&browser).await;
    click(&browser, "#queue li[data-transaction=d] a").await;
    browser.until("document.querySelector('#detail .problem').textContent.includes('reached')").await;
    browser.press(&format!("2sea{ENTER}")).await;
    assert!(is_at_rest(&browser).await);
    back(&browser).await;
    click(&browser, "#detail [data-act=retry]").await;
    shows(&browser, "d").await;
    for id in ["a", "d", "e"] {
        assert_eq!(stands(&app, id).await, WAITS);
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_stays_with_its_row_until_it_is_sent() {
    let Some((app, browser)) = desk(2).await else { return };
    let form = "[document.getElementById('note').value, document.querySelector('#detail article').dataset.picked]";
    browser.press("2").await;
    browser.evaluate("document.getElementById('note').focus()").await;
    browser.press(&format!("later{ENTER}j")).await;
    shows(&browser, "b").await;
    assert_eq!(browser.evaluate(form).await, json!(["", "restaurant"]));
    browser.press("k").await;
    shows(&browser, "a").await;
    assert_eq!(browser.evaluate(form).await, json!(["later", "fast_food"]));

    let asked =
        "[document.getElementById('escalate-title').textContent, document.getElementById('escalate-note').value]";
    let turns =
        [("k", "a", "ALDER INN", "whose?", ""), ("j", "b", "BIRCH INN", "", ""), ("k", "a", "ALDER INN", "", "whose?")];
    for (go, id, name, typed, held) in turns {
        browser.press(go).await;
        shows(&browser, id).await;
        browser.press("e").await;
        browser.until("document.activeElement.id === 'escalate-note'").await;
        assert_eq!(browser.evaluate(asked).await, json!([format!("Escalate {name}"), held]));
        browser.press(&format!("{typed}{ESCAPE}")).await;
        browser.until("!document.getElementById('escalate').open").await;
    }

    away(&browser).await;
    browser.press(ENTER).await;
    complains(&browser, "Nothing was saved").await;
    browser.until("document.querySelector('#detail [data-act=retry]')").await;
    back(&browser).await;
    click(&browser, "#detail [data-act=retry]").await;
    shows(&browser, "a").await;
    assert_eq!(browser.evaluate(form).await, json!(["later", "fast_food"]));
    browser.press(ENTER).await;
    browser.said("fast food: 1 row decided").await;
    assert_eq!(stands(&app, "a").await, "fast_food by correction, reviewed");
    let trail = app.get("/v1/reviews/decisions").await.with(200);
    assert_eq!(trail["actions"][0]["note"], "later");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_offered_alone_and_after_the_last_one_the_focus_has_a_place() {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let lineup = App::scripted(&taxonomy);
    let app = App::answering(store, database, taxonomy, lineup, 1.0).await;
    app.ingest(&[place("a", "acc-1", "SURE COFFEE", "5.00")]).await;
    let Some(browser) = browser(Screen::Phone, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    browser.open(&app, "/review?lane=audit").await;
    shows(&browser, "a").await;
    assert_eq!(browser.evaluate("document.querySelector('[data-act=group]')").await, json!(null));
    browser.press("a").await;
    assert!(is_at_rest(&browser).await);
    browser.press(ENTER).await;
    browser.said("1 row decided").await;
    browser.until("document.activeElement.id === 'empty'").await;
    let pace = "document.getElementById('pace-done').textContent";
    assert_eq!(browser.evaluate(pace).await, "1 decision on 1 row");
    click(&browser, "#pace [data-act=undo]").await;
    browser.said("1 row is as before").await;
    shows(&browser, "a").await;
    assert_eq!(browser.evaluate(pace).await, "0 decisions on 0 rows");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_s_preview_shows_its_rows_and_no_note_of_another_change() {
    let mut app = App::start().await;
    app.ingest(&[place("x", "acc-7", "CORNER PLACE 0412", "5.00")]).await;
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    app.use_key(&analyst);
    browser.open(&app, "/merchants/one?key=corner%20place").await;
    browser.until("document.body.dataset.ready").await;
    let opens = "document.getElementById('preview').open && document.activeElement.id === 'apply'";
    browser.evaluate("document.getElementById('name').focus()").await;
    browser.press(&format!("Corner{ENTER}")).await;
    browser.until(opens).await;
    assert!(!again(&browser, "Enter").await, "a held Enter applies what nobody has read");
    browser.evaluate("document.getElementById('why-note').focus()").await;
    browser.press(&format!("as its sign{ESCAPE}")).await;
    browser.until("!document.getElementById('preview').open").await;

    // Sent twice at once it is asked once, and a category goes by its name too.
    browser.evaluate("document.getElementById('category').focus()").await;
    let name = browser.evaluate("document.querySelector('#categories option[value=fast_food]').textContent").await;
    browser.press(name.as_str().unwrap()).await;
    browser.hold("/v1/merchants/preview").await;
    let twice = "(() => { const form = document.querySelector('[data-kind=categorize]'); \
                 form.requestSubmit(); form.requestSubmit(); })()";
    browser.evaluate(twice).await;
    browser.release().await;
    browser.until(opens).await;
    let cells = "[...document.querySelectorAll('#rows tr:only-child td')].map((cell) => cell.textContent)";
    let told = ["2026-03-14", "CORNER PLACE 0412", "acc-7", "5.00 USD", "restaurant", "fast food", "waits"];
    assert_eq!(browser.evaluate(cells).await, json!(told));
    let rest = "document.getElementById('why-note').value + document.getElementById('trouble').textContent";
    assert_eq!(browser.evaluate(rest).await, "");
    browser.press(ENTER).await;
    browser.said("Done: 1 row decided").await;
    browser.until("document.activeElement.id === 'main'").await;
    assert_eq!(stands(&app, "x").await, "fast_food by merchant_rule, reviewed");
    browser.close().await;
}
