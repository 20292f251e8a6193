//! Signing in by a provider: whom it lets in, and how little it takes to stay out.

mod provider;

use chrono::TimeDelta;
use reqwest::header::SET_COOKIE;
use serde_json::json;
use sqlx::PgPool;
use txcat::{
    access::{FreshKey, LOCAL, Role, Rotation},
    clock,
    store::OidcSubject,
};

use super::{
    browser::{Screen, browser},
    person,
};
use crate::harness::{Answer, App, NOWHERE, Run as _, txcat};

use provider::{Provider, Signed};

const ANNA: &str = "anna@provider";

/// A provider, and a service that anna signs in to by it.
async fn begin() -> (Provider, App) {
    let provider = Provider::start().await;
    let app = App::start_with_oidc(|address| provider.settings(&format!("http://localhost:{}", address.port()))).await;
    person(&app, "anna", Role::Analyst).await;
    link(&app, &provider, "anna", ANNA).await;
    (provider, app)
}

async fn link(app: &App, provider: &Provider, name: &str, subject: &str) {
    let whom = OidcSubject { issuer: provider.issuer.clone(), subject: subject.to_owned() };
    assert!(app.store.link_person(name, Some(&whom), LOCAL).await.unwrap());
}

/// The cookies that an answer sets, as a browser sends them back.
fn cookies(answer: &Answer) -> Vec<String> {
    let set = answer.headers.get_all(SET_COOKIE).into_iter().map(|cookie| cookie.to_str().unwrap());
    set.map(|cookie| cookie.split(';').next().unwrap().to_owned()).filter(|cookie| !cookie.ends_with('=')).collect()
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.headers["location"].to_str().unwrap().to_owned()
}

/// Goes to the provider, and is sent back: the way back, and the cookie of the one who went.
async fn went(app: &App) -> (String, String) {
    let begun = app.get("/sign-in/oidc").await;
    let cookie = cookies(&begun).remove(0);
    let set = begun.headers[SET_COOKIE].to_str().unwrap();
    assert!(set.contains("HttpOnly; SameSite=Lax") && set.contains("Path=/sign-in/oidc;"), "{set}");
    let stay = reqwest::redirect::Policy::none();
    let client = txcat::outbound::client().no_proxy().redirect(stay).build().unwrap();
    let back = client.get(location(&begun)).send().await.unwrap();
    let back = back.headers()["location"].to_str().unwrap().to_owned();
    let (_, path) = back.split_once("/sign-in").unwrap();
    (format!("/sign-in{path}"), cookie)
}

async fn comes_back(app: &App, path: &str, cookie: &str) -> Answer {
    app.send(app.request("GET", path).header("cookie", cookie)).await
}

async fn sign_in(app: &App) -> Answer {
    let (path, cookie) = went(app).await;
    comes_back(app, &path, &cookie).await
}

/// Nobody has come in: a page says why, and there is neither cookie nor session.
#[track_caller]
fn stays_out(answer: &Answer, status: u16, says: &str) {
    let page = answer.body.as_str().unwrap();
    assert_eq!(answer.status, status, "{page}");
    assert!(page.contains(says) && page.contains("<h1>Sign in</h1>"), "{page}");
    assert!(cookies(answer).iter().all(|cookie| !cookie.contains("txcat_session")), "{:?}", answer.headers);
}

async fn sessions(app: &App) -> i64 {
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let count = sqlx::query_scalar("select count(*) from sessions").fetch_one(&pool).await.unwrap();
    pool.close().await;
    count
}

/// Acts in the audit log, newest first.
async fn acts(app: &App, act: &str) -> Vec<serde_json::Value> {
    let rows = app.store.latest_audit_rows(None, Some(act), 100).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(&row.record).unwrap()).collect()
}

#[tokio::test]
async fn whom_the_provider_means_and_an_admin_has_linked_ends_at_the_desk() {
    let (provider, app) = begin().await;
    let page = app.get("/sign-in").await;
    let page = page.body.as_str().unwrap();
    assert!(page.contains("href=\"/sign-in/oidc\"") && page.contains("Sign in by http:"), "{page}");
    let answer = sign_in(&app).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // A redirect would go on without the session: browsers count it as coming from the provider's site.
    assert!(answer.body.as_str().unwrap().contains("http-equiv=\"refresh\" content=\"0; url=/\""));
    let set: Vec<&str> = answer.headers.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(set[0].starts_with("txcat_session=") && set[0].contains("HttpOnly; SameSite=Strict"), "{set:?}");
    assert!(set[1].starts_with("txcat_oidc=; ") && set[1].contains("Max-Age=0"), "{set:?}");
    let desk = comes_back(&app, "/review", &cookies(&answer)[0]).await;
    assert_eq!(desk.status, 200);
    assert!(desk.body.as_str().unwrap().contains("<span>anna</span>"));
    // What the provider says of itself is asked once.
    assert_eq!(sign_in(&app).await.status, 200);
    assert_eq!((provider.with(|script| script.discovered), sessions(&app).await), (1, 2));
    let linked = acts(&app, "person.linked").await;
    assert_eq!((linked.len(), &linked[0]["detail"]["oidc_subject"]), (1, &json!(ANNA)));
    assert_eq!(linked[0]["actor"], LOCAL);
}

#[tokio::test]
async fn a_token_that_does_not_hold_lets_nobody_in() {
    let (provider, app) = begin().await;
    let now = clock::now().timestamp();
    let wrong = [
        ("another nonce", Signed::Rs256, json!({ "nonce": "0123456789012345678901234567890123456789abcd" })),
        ("no nonce", Signed::Rs256, json!({ "nonce": null })),
        ("for another client", Signed::Rs256, json!({ "aud": "another" })),
        ("for another client too", Signed::Rs256, json!({ "aud": [provider::CLIENT, "another"] })),
        ("from elsewhere", Signed::Rs256, json!({ "iss": "https://id.elsewhere.example" })),
        ("over", Signed::Rs256, json!({ "iat": now - 900, "exp": now - 600 })),
        ("an endless name", Signed::Rs256, json!({ "sub": "a".repeat(256) })),
        ("no name", Signed::Rs256, json!({ "sub": "" })),
        ("a foreign signature", Signed::Foreign, json!({})),
        ("signed with what the client has too", Signed::Hs256, json!({})),
        ("not signed", Signed::None, json!({})),
    ];
    for (what, signed, claims) in wrong {
        provider.with(|script| (script.signed, script.claims) = (signed, claims));
        let answer = sign_in(&app).await;
        assert_eq!(answer.status, 403, "{what}: {}", answer.body);
        stays_out(&answer, 403, "be believed");
    }
    assert_eq!(sessions(&app).await, 0);
    provider.with(|script| (script.signed, script.claims) = (Signed::Rs256, json!({})));
    assert_eq!(sign_in(&app).await.status, 200);
}

#[tokio::test]
async fn a_sign_in_comes_back_once_to_the_browser_that_began_it_and_in_time() {
    let (_provider, app) = begin().await;
    let (path, cookie) = went(&app).await;
    stays_out(&app.get(&path).await, 400, "not begun in this browser");
    let other = went(&app).await.1;
    stays_out(&comes_back(&app, &path, &other).await, 400, "not begun in this browser");
    let forged = "/sign-in/oidc/callback?code=code-0&state=0123";
    stays_out(&comes_back(&app, forged, "txcat_oidc=0123").await, 400, "not begun in this browser");
    for none in [
        "/sign-in/oidc/callback",
        "/sign-in/oidc/callback?state=&code=code-0",
        "/sign-in/oidc/callback?state=a&state=b",
    ] {
        stays_out(&comes_back(&app, none, "txcat_oidc=").await, 400, "not begun in this browser");
    }
    assert_eq!(comes_back(&app, &path, &cookie).await.status, 200);
    stays_out(&comes_back(&app, &path, &cookie).await, 400, "was used before");
    assert_eq!(sessions(&app).await, 1);

    let (path, cookie) = went(&app).await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let aged = "update oidc_sign_ins set begun_at = begun_at - interval '11 minutes'";
    sqlx::query(aged).execute(&pool).await.unwrap();
    stays_out(&comes_back(&app, &path, &cookie).await, 400, "too long ago");
    // The next one to begin takes those away that were left behind.
    went(&app).await;
    let left: i64 = sqlx::query_scalar("select count(*) from oidc_sign_ins").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 1);
    pool.close().await;
}

#[tokio::test]
async fn who_is_nobody_here_is_told_whom_to_ask_and_stands_in_the_log() {
    let (provider, app) = begin().await;
    provider.with(|script| script.subject = "<b>bert</b>".to_owned());
    let answer = sign_in(&app).await;
    stays_out(&answer, 403, "<code>&lt;b&gt;bert&lt;&#x2f;b&gt;</code>. Ask an admin");
    let refused = acts(&app, "sign_in.refused").await;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["actor"], "oidc:<b>bert</b>");
    assert_eq!(refused[0]["subject"], format!("oidc_issuer:{}", provider.issuer));
    // The same name of another provider is somebody else.
    let elsewhere = OidcSubject { issuer: "https://id.elsewhere.example".to_owned(), subject: "carl".to_owned() };
    person(&app, "carl", Role::Admin).await;
    app.store.link_person("carl", Some(&elsewhere), LOCAL).await.unwrap();
    provider.with(|script| script.subject = "carl".to_owned());
    stays_out(&sign_in(&app).await, 403, "Ask an admin");
}

#[tokio::test]
async fn a_key_that_opens_nothing_any_more_lets_nobody_in_by_the_provider_either() {
    let (provider, app) = begin().await;
    let session = cookies(&sign_in(&app).await).remove(0);
    // A rotated key hands over whom the provider means.
    let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
    let rotation = Rotation { overlap: TimeDelta::zero(), expires_at: None, made_by: LOCAL.to_owned() };
    FreshKey::rotate(&app.store, "anna", rotation, random, clock::now()).await.unwrap().unwrap();
    assert_eq!(
        comes_back(&app, "/review", &session).await.status,
        303,
        "the key before has ended, and its session has not"
    );
    let session = cookies(&sign_in(&app).await).remove(0);
    assert_eq!(comes_back(&app, "/review", &session).await.status, 200);
    // Unlinked: out at once, and not in again.
    assert!(app.store.link_person("anna", None, LOCAL).await.unwrap());
    assert_eq!(comes_back(&app, "/review", &session).await.status, 303);
    stays_out(&sign_in(&app).await, 403, "Ask an admin");
    assert_eq!(acts(&app, "person.unlinked").await.len(), 1);
    link(&app, &provider, "anna", ANNA).await;
    assert_eq!(sign_in(&app).await.status, 200);
    // Expired.
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let ends = "update api_keys set expires_at = $1 where name = 'anna' and successor is null";
    sqlx::query(ends).bind(clock::now() - TimeDelta::seconds(1)).execute(&pool).await.unwrap();
    stays_out(&sign_in(&app).await, 403, "Ask an admin");
    sqlx::query(ends).bind(None::<chrono::DateTime<chrono::Utc>>).execute(&pool).await.unwrap();
    pool.close().await;
    // Removed; then somebody else may be the one whom the provider means.
    app.store.revoke_key("anna", LOCAL, clock::now()).await.unwrap();
    stays_out(&sign_in(&app).await, 403, "Ask an admin");
    person(&app, "anna-2", Role::Reader).await;
    link(&app, &provider, "anna-2", ANNA).await;
    let session = cookies(&sign_in(&app).await).remove(0);
    assert_eq!(comes_back(&app, "/review", &session).await.status, 403, "a reader decides");
    let taken = OidcSubject { issuer: provider.issuer.clone(), subject: ANNA.to_owned() };
    person(&app, "bert", Role::Reader).await;
    let refused = app.store.link_person("bert", Some(&taken), LOCAL).await.unwrap_err();
    assert!(refused.to_string().contains("api_keys_oidc_once"), "{refused}");
}

#[tokio::test]
async fn a_provider_that_is_down_stops_nobody_who_has_a_key() {
    let (provider, app) = begin().await;
    let key = person(&app, "bert", Role::Analyst).await;
    provider.with(|script| script.down = Some(reqwest::StatusCode::BAD_GATEWAY));
    stays_out(&app.get("/sign-in/oidc").await, 503, "be reached");
    let form = app.request("POST", "/sign-in").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(app.send(form.body(format!("key={key}"))).await.status, 303);
    app.get("/readyz").await.with(200);
    // It is asked again as soon as it is there.
    provider.with(|script| script.down = None);
    let (path, cookie) = went(&app).await;
    provider.with(|script| script.down = Some(reqwest::StatusCode::INTERNAL_SERVER_ERROR));
    stays_out(&comes_back(&app, &path, &cookie).await, 503, "be reached");
    provider.with(|script| script.down = None);
    assert_eq!(sign_in(&app).await.status, 200);
    // Gone altogether, with what it says of itself still at hand.
    let (path, cookie) = went(&app).await;
    drop(provider);
    stays_out(&comes_back(&app, &path, &cookie).await, 503, "be reached");
    assert_eq!(sessions(&app).await, 2);
}

#[tokio::test]
async fn a_provider_may_refuse_and_may_change_its_keys() {
    let (provider, app) = begin().await;
    let (path, cookie) = went(&app).await;
    let state = path.split("state=").nth(1).unwrap();
    let refused = format!("/sign-in/oidc/callback?error=access_denied&state={state}");
    stays_out(&comes_back(&app, &refused, &cookie).await, 403, "refused");
    let (path, cookie) = went(&app).await;
    let unknown = path.replace("code=code", "code=nocode");
    stays_out(&comes_back(&app, &unknown, &cookie).await, 403, "refused");
    assert_eq!(sign_in(&app).await.status, 200);
    provider.with(|script| (script.signed, script.shows) = (Signed::EdDsa, &[Signed::EdDsa]));
    assert_eq!(sign_in(&app).await.status, 200, "the new keys are not looked for");
    // What was signed with the key that is gone holds no more.
    provider.with(|script| script.signed = Signed::Rs256);
    stays_out(&sign_in(&app).await, 403, "be believed");
}

#[tokio::test]
async fn without_a_provider_there_is_nothing_of_it() {
    let app = App::start_without_redirects().await;
    let page = app.get("/sign-in").await;
    assert!(!page.body.as_str().unwrap().contains("oidc"));
    app.get("/sign-in/oidc").await.with(404);
    app.get("/sign-in/oidc/callback?code=a&state=b").await.with(404);
}

#[test]
fn half_a_provider_is_an_error_at_the_start() {
    let issuer = ["serve", "--oidc-issuer", "https://id.bank.example"];
    let client = [&issuer[..], &["--oidc-client-id", "txcat"]].concat();
    let whole = [&client[..], &["--public-url", "https://txcat.bank.example"]].concat();
    let open = |url: &'static str| [&client[..], &["--public-url", url]].concat();
    let secret = ("TXCAT_OIDC_CLIENT_SECRET", "hidden-secret");
    for (arguments, variables, says) in [
        (&issuer[..], &[][..], "--oidc-client-id"),
        (&client, &[], "--public-url"),
        (&["serve", "--oidc-client-id", "txcat"], &[], "--oidc-issuer"),
        (&["serve"], &[("TXCAT_OIDC_CLIENT_ID", "txcat")], "--oidc-issuer"),
        (&["serve"], &[secret], "--oidc-issuer"),
        (&[&whole[..], &["--oidc-client-secret-file", "/nowhere"]].concat(), &[], "can't read /nowhere"),
        (&[&whole[..], &["--oidc-client-secret-file", "/nowhere"]].concat(), &[secret], "both given"),
        (&[&whole[..], &["--oidc-client-secret-file", "/dev/null"]].concat(), &[], "is empty"),
        (&open("http://txcat.bank.example"), &[secret], "--public-url) must be an https address"),
    ] {
        // What is wrong must be said before anybody connects.
        let said = txcat(arguments).envs(variables.iter().copied()).on(NOWHERE).run();
        assert!(said.code != 0 && said.err.contains(says), "{arguments:?}: {said:?}");
        assert!(!said.err.contains("hidden-secret"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_one_click_leads_by_the_provider_s_site_to_the_desk() {
    let (provider, app) = begin().await;
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    // Of another site than the provider, whose name is an address: what a browser sends along depends on it.
    let service = format!("http://localhost:{}", app.address.port());
    assert!(!provider.issuer.contains("localhost"));
    browser.client.goto(&format!("{service}/review")).await.unwrap();
    browser.until("location.pathname === '/sign-in'").await;
    browser.evaluate("document.querySelector('a.main').click()").await;
    browser
        .until("location.pathname === '/review' && document.querySelector('.who')?.textContent.includes('anna')")
        .await;
    browser.close().await;
}
