//! The desk in a real browser: Debian's chromium, driven over `WebDriver`.
//!
//! Without `chromedriver` these tests say so and pass, unless `TXCAT_BROWSER=required`, which CI sets. `TXCAT_AXE` names
//! axe-core's `axe.min.js`, without which accessibility is not checked; `TXCAT_SCREENSHOTS` a folder that gets a picture of
//! every page.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use fantoccini::{
    Client, ClientBuilder,
    actions::{InputSource as _, KeyAction, KeyActions},
};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tempfile::TempDir;
use txcat::{access::Role, store::NewEvalRun};

use super::{person, place, stands};
use crate::harness::{App, PATIENCE, with};

pub(super) const ENTER: &str = "\u{E007}";
pub(super) const ESCAPE: &str = "\u{E00C}";

/// What a browser shows pages to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Screen {
    Desktop,
    Phone,
}

/// A driver with one browser. Both end when dropped.
pub(super) struct Browser {
    pub(super) client: Client,
    driver: Child,
    /// Last, so that it goes when both have: what they leave behind.
    _left: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to end, the driver takes its browser along; in the midst of a page it leaves it behind, in its own group.
        let driver = Pid::from_raw(self.driver.id().cast_signed());
        let _ = kill(driver, Signal::SIGTERM);
        let _ = self.driver.wait();
        let _ = killpg(driver, Signal::SIGKILL);
    }
}

/// A driver, and the port it listens on. Of several that start at once, one may find its port taken: it tries again.
fn driver(temporary: &Path) -> std::io::Result<(Child, u16)> {
    for _ in 0..5 {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("TMPDIR", temporary).process_group(0);
        let mut driver = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        match port {
            Some(port) => return Ok((driver, port)),
            None => driver.wait()?,
        };
    }
    Err(std::io::Error::other("it never said where it listens"))
}

/// A browser; none where there is no driver, which is said.
pub(super) async fn browser(screen: Screen, dark: bool) -> Option<Browser> {
    let left = tempfile::tempdir().unwrap();
    let (driver, port) = match driver(left.path()) {
        Ok(started) => started,
        Err(error) => {
            let required = std::env::var("TXCAT_BROWSER").is_ok_and(|value| value == "required");
            assert!(!required, "chromedriver can't be started: {error}");
            eprintln!("NOT TESTED in a browser: chromedriver can't be started ({error}); install chromium-driver");
            return None;
        }
    };
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    let mut options = json!({ "args": [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900",
        "--hide-scrollbars", "--force-prefers-reduced-motion", scheme,
    ] });
    if screen == Screen::Phone {
        let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 2.0, "mobile": true });
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    let capabilities = json!({ "browserName": "chrome", "goog:chromeOptions": options });
    let client = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities.as_object().unwrap().clone())
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .expect("chromium does not start");
    Some(Browser { client, driver, _left: left })
}

impl Browser {
    pub(super) async fn open(&self, app: &App, path: &str) {
        self.client.goto(&format!("http://{}{path}", app.address)).await.unwrap();
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub(super) async fn press(&self, keys: &str) {
        let typed = keys.chars().fold(KeyActions::new("keyboard".to_owned()), |typed, key| {
            typed.then(KeyAction::Down { value: key }).then(KeyAction::Up { value: key })
        });
        self.client.perform_actions(typed).await.unwrap();
    }

    pub(super) async fn evaluate(&self, script: &str) -> Value {
        self.client.execute(&format!("return {script}"), Vec::new()).await.unwrap()
    }

    /// Waits until an expression holds in the page.
    #[track_caller]
    pub(super) fn until<'a>(&'a self, holds: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            // The page itself looks at each of its frames; where it is left for another, that one does.
            let script = format!(
                "const done = arguments[arguments.length - 1]; \
                 const holds = () => {{ try {{ return Boolean({holds}) }} catch {{ return false }} }}; \
                 (function look() {{ if (holds()) done(true); else requestAnimationFrame(look); }})();"
            );
            let waited = tokio::time::timeout(PATIENCE, async {
                while !matches!(self.client.execute_async(&script, Vec::new()).await, Ok(Value::Bool(true))) {}
            });
            if waited.await.is_err() {
                let page = self.client.source().await.unwrap_or_default();
                panic!("{caller}: never came true: {holds}\n{page}");
            }
        }
    }

    /// Signs in by keyboard alone: the field has the focus.
    pub(super) async fn sign_in(&self, app: &App, key: &str) {
        self.open(app, "/").await;
        self.until("location.pathname === '/sign-in' && document.activeElement.id === 'key'").await;
        self.press(&format!("{key}{ENTER}")).await;
        self.ready().await;
    }

    /// Waits until the desk shows what is selected, which can be accepted, or that nothing waits.
    pub(super) async fn ready(&self) {
        self.until(
            "document.body.dataset.ready && (document.querySelector('#queue a[aria-current]') \
             ? document.querySelector('#queue a[aria-current]').closest('li').dataset.transaction \
               === document.querySelector('#detail article').dataset.transaction \
               && !document.querySelector('#detail [data-act=accept]').disabled \
             : !document.getElementById('empty').hidden)",
        )
        .await;
    }

    /// Keeps the page's requests to a path back until [`Self::release`].
    pub(super) async fn hold(&self, path: &str) {
        self.evaluate(&format!(
            "(() => {{ const sent = window.fetch; const held = new Promise((done) => {{ window.release = done; }}); \
             window.fetch = async (path, ...more) => {{ if (path.startsWith('{path}')) await held; return sent(path, ...more); }}; }})()"
        ))
        .await;
    }

    pub(super) async fn release(&self) {
        self.evaluate("window.release()").await;
    }

    pub(super) async fn selected(&self) -> String {
        self.evaluate("document.querySelector('#detail article').dataset.transaction")
            .await
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(super) async fn said(&self, text: &str) {
        self.until(&format!("document.getElementById('said').textContent.includes('{text}')")).await;
    }

    pub(super) async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

const TREES: [&str; 30] = [
    "ALDER", "ASH", "ASPEN", "BALSA", "BEECH", "BIRCH", "CEDAR", "CHERRY", "CYPRESS", "EBONY", "ELDER", "ELM", "FIR",
    "GINKGO", "HAZEL", "HICKORY", "HOLLY", "JUNIPER", "LARCH", "LINDEN", "MAPLE", "OAK", "OLIVE", "PINE", "POPLAR",
    "ROWAN", "SPRUCE", "SYCAMORE", "WALNUT", "WILLOW",
];

/// Merchants with one doubtful row each, the first with most at risk.
async fn inns(count: usize) -> App {
    let app = App::start().await;
    ingest_inns(&app, count).await;
    app
}

async fn ingest_inns(app: &App, count: usize) {
    let inn = |at: usize, tree: &str| {
        place(&format!("inn-{at}"), "acc-1", &format!("{tree} INN"), &format!("{}.00", 400 - 10 * at))
    };
    let rows: Vec<Value> = TREES[..count].iter().enumerate().map(|(at, tree)| inn(at, tree)).collect();
    app.ingest(&rows).await;
}

/// One merchant with four doubtful rows on three accounts.
fn corner() -> Vec<Value> {
    let accounts = ["acc-1", "acc-1", "acc-2", "acc-3"].into_iter().enumerate();
    accounts.map(|(at, account)| place(&format!("corner-{at}"), account, "CORNER PLACE", "1.00")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_works_the_queue_by_keyboard_alone() {
    let mut app = inns(12).await;
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    let program = app.make_key("program", &[txcat::access::Scope::Ingest], None).await;
    browser.sign_in(&app, &analyst).await;

    // Ten items: every second one gets the second suggestion.
    for turn in 0..10 {
        let at_hand = browser.selected().await;
        assert_eq!(at_hand, format!("inn-{turn}"), "the order of the queue");
        if turn % 2 == 1 {
            browser.press("2").await;
            browser
                .until("document.querySelector('.choice[aria-pressed=true]').dataset.category === 'fast_food'")
                .await;
        }
        browser.press(ENTER).await;
        browser.until(&format!("document.querySelector('#detail article').dataset.transaction !== '{at_hand}'")).await;
        browser.ready().await;
    }
    browser.until("document.querySelectorAll('#queue li.done').length === 0").await;
    app.use_key(&analyst);
    for turn in 0..10 {
        let category = if turn % 2 == 1 { "fast_food" } else { "restaurant" };
        assert_eq!(stands(&app, &format!("inn-{turn}")).await, format!("{category} by correction, reviewed"));
    }
    browser.until("document.querySelector('.count[data-lane=doubtful]').textContent === '2'").await;

    // j, k, help and a typed category.
    let first = browser.selected().await;
    browser.press("j").await;
    browser.until(&format!("document.querySelector('#detail article').dataset.transaction !== '{first}'")).await;
    browser.press("k").await;
    browser.until(&format!("document.querySelector('#detail article').dataset.transaction === '{first}'")).await;
    browser.press("?").await;
    browser.until("document.getElementById('help').open").await;
    browser.press(ESCAPE).await;
    browser.until("!document.getElementById('help').open").await;
    browser.press("c").await;
    browser.until("document.activeElement.id === 'category'").await;
    browser.press(&format!("bar_and_nightlife{ENTER}")).await;
    browser.until("document.querySelector('#detail article').dataset.picked === 'bar_and_nightlife'").await;

    app.use_key(&program);
    app.ingest(&corner()).await;
    app.use_key(&analyst);

    // Search, apply to the whole group with its preview, undo.
    browser.press("/").await;
    browser.until("document.activeElement.id === 'text'").await;
    browser.press(&format!("corner{ENTER}")).await;
    browser.until("location.search.includes('text=corner')").await;
    browser.ready().await;
    browser.press("2a").await;
    browser.until("document.getElementById('preview').open").await;
    browser.until("document.querySelectorAll('#preview tbody tr').length === 4").await;
    let shown = browser.evaluate("document.getElementById('preview').textContent").await;
    assert!(
        shown
            .as_str()
            .unwrap()
            .contains("every later debit of “corner place” is “Fast food and takeaway”, on any account")
    );
    browser.press(ENTER).await;
    browser.said("4 rows decided").await;
    browser.until("!document.getElementById('empty').hidden").await;
    for at in 0..4 {
        let stands = stands(&app, &format!("corner-{at}")).await;
        assert!(stands.starts_with("fast_food") && stands.ends_with("reviewed"), "{stands}");
    }
    browser.press("u").await;
    browser.said("4 rows are as before").await;
    browser.until("document.querySelector('#detail article').dataset.transaction === 'corner-0'").await;
    for at in 0..4 {
        assert_eq!(stands(&app, &format!("corner-{at}")).await, "restaurant by stage, pending");
    }

    // Decided again, it is what the next POST answers.
    browser.press("2a").await;
    browser.until("document.querySelectorAll('#preview[open] tbody tr').length === 4").await;
    browser.press(ENTER).await;
    browser.said("4 rows decided").await;
    app.use_key(&program);
    let next = app.ingest(&[place("next", "acc-9", "CORNER PLACE", "5.00")]).await.remove(0);
    assert_eq!((&next["category"], &next["decided_by"]), (&json!("fast_food"), &json!("merchant_rule")));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_analysts_at_once_never_have_the_same_item() {
    let mut app = inns(30).await;
    let (Some(first), Some(second)) = tokio::join!(browser(Screen::Desktop, false), browser(Screen::Desktop, true))
    else {
        return;
    };
    let (analyst, colleague) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    tokio::join!(first.sign_in(&app, &analyst), second.sign_in(&app, &colleague));
    let listed = "[...document.querySelectorAll('#queue li')].map((item) => item.dataset.transaction)";
    let (of_one, of_other) = tokio::join!(first.evaluate(listed), second.evaluate(listed));
    let (of_one, of_other) = (of_one.as_array().unwrap(), of_other.as_array().unwrap());
    assert_eq!(of_one.len() + of_other.len(), 30, "everything is on one desk or the other");
    assert!(of_one.iter().all(|id| !of_other.contains(id)), "an item is on both desks: {of_one:?} {of_other:?}");
    let work = async |browser: &Browser| {
        for _ in 0..5 {
            let at_hand = browser.selected().await;
            browser.press(ENTER).await;
            browser
                .until(&format!("document.querySelector('#detail article').dataset.transaction !== '{at_hand}'"))
                .await;
            browser.ready().await;
        }
        browser.until("document.querySelectorAll('#queue li.done').length === 0").await;
        assert_eq!(browser.evaluate("document.getElementById('trouble').textContent").await, "");
    };
    tokio::join!(work(&first), work(&second));
    app.use_key(&analyst);
    let trail = app.get("/v1/reviews/decisions?standing=true").await.with(200);
    let actions = trail["actions"].as_array().unwrap();
    let mut ids: Vec<&str> = actions.iter().map(|action| action["transaction_id"].as_str().unwrap()).collect();
    let by = |name: &str| actions.iter().filter(|action| action["made_by"] == name).count();
    assert_eq!((ids.len(), by("analyst-1"), by("analyst-2")), (10, 5, 5));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10, "an item was decided twice");
    first.close().await;
    second.close().await;
}

const ADAPTERS: &str = "insert into adapters (name, version, engine, taxonomy, account_group, base, base_sha256, last_label,
        facts, state, share, state_since, registered_by, registered_at)
     values
        ('consumer', 3, 'adapter:consumer@1f3a9c02', 'consumer', 'everyone', 'all-minilm-l6-v2', '', 0, '{}', 'champion', 1,
            now() - interval '9 days', 'local', now() - interval '30 days'),
        ('consumer-with-a-long-name-for-small-businesses', 12, 'adapter:consumer-with-a-long-name@77aa0b1c', 'consumer',
            'everyone', 'all-minilm-l6-v2', '', 0, '{}', 'shadow', 0.25, now(), 'analyst-2', now())";
const TUNING: &str = "insert into finetune_jobs (entry, base_url, model, file_sha256, method, settings, rows, job, status,
        created_at, polled_at)
     values ('mini', 'https://provider.example/v1', 'small-model-2026-04-14', repeat('0a', 32), 'supervised', '{}', 11482,
        'ftjob-abc123def456', 'running', now() - interval '2 hours', now())";
/// As a bank may write it: long, and without a place to break.
const LONG: &str =
    "POS 4029XXXXXXXX1123 WWW.EXTRAORDINARILYLONGMERCHANTNAMEWITHOUTANYBREAK.EXAMPLE/ORDERS 0042-118-77 LUXEMBOURG LU";

/// A service with something on every page.
async fn furnished() -> (App, Vec<(&'static str, String)>) {
    let app = App::start_with_second_share(1.0).await;
    // Two decisions that wait for a second person, and two that have one.
    ingest_inns(&app, 4).await;
    super::claimed(&app, json!({ "count": 4 })).await;
    for at in 0..4 {
        let said = super::decision(&format!("inn-{at}"), "restaurant", "transaction");
        app.post("/v1/reviews/decisions", &said).await.with(201);
    }
    let mut pool = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    let again = "update second_labels set category = case when action_id = (select min(action_id) from second_labels) then \
                 'fast_food' else first_category end, made_by = 'analyst-2', made_at = now() \
                 where action_id in (select action_id from second_labels order by action_id limit 2)";
    for statement in [again, ADAPTERS, TUNING] {
        sqlx::query(statement).execute(&mut pool).await.unwrap();
    }
    ingest_inns(&app, 14).await;
    app.ingest(&corner()).await;
    let now = txcat::clock::now();
    let recent = |id: &str, text: &str| with(place(id, "acc-2", text, "42.10"), json!({ "posted_at": now }));
    app.ingest(&[
        recent("m1", "SQ *MARKET HALL 0412 OAKLAND CA"),
        recent("m2", "COFFEE KIOSK"),
        recent("m3", "RIVER HOUSE"),
        with(recent("m4", LONG), json!({ "amount": "1234567.89" })),
    ])
    .await;
    let word = json!({ "category": "bar_and_nightlife", "scope": "account_merchant", "note": "a bar, says its page" });
    app.post("/v1/transactions/m3/correction", &word).await.with(200);
    app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    let mut runs = Vec::new();
    for (seed, stage, share) in [(1, "few_shot", 0.7), (2, "enriched_prompt", 0.8), (3, "adapter", 0.9)] {
        for (days, less) in [(60, 0.1), (30, 0.05), (0, 0.0)] {
            let items = crate::tracker::answered(seed + days, 240, share - less);
            let began = now - chrono::TimeDelta::days(days.cast_signed());
            let run = NewEvalRun { started_at: began, ..crate::tracker::run(stage, &items) };
            runs.push(app.store.insert_run(&run, &items).await.unwrap());
        }
    }
    let runs = [runs[2], runs[5], runs[8]];
    let accuracy = format!("/accuracy?run={}&with={}", runs[2], runs[0]);
    let pages = ["transactions", "merchants", "adapters", "datasets", "jobs", "advice"];
    let mut all: Vec<_> = pages.iter().map(|page| (*page, format!("/{page}"))).collect();
    let begun = json!({ "scope": { "everything": true }, "reason": "a better engine in March, to be looked at" });
    let run = app.post("/v1/recategorizations", &begun).await.with(202)["id"].clone();
    all.push(("recategorization", format!("/jobs/recategorizations/{run}")));
    all.push(("rows", format!("/accuracy/rows?run={}&with={}", runs[2], runs[0])));
    all.push(("long", "/transactions/m4".to_owned()));
    all.push(("life", "/transactions/m3".to_owned()));
    all.push(("merchant", "/merchants/one?key=river%20house".to_owned()));
    all.push(("second", "/review/second".to_owned()));
    all.insert(0, ("accuracy", accuracy));
    all.insert(0, ("review", "/review".to_owned()));
    (app, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_within_everybody_s_reach_light_and_dark_on_desk_and_phone() {
    let axe = std::env::var("TXCAT_AXE")
        .ok()
        .filter(|path| !path.is_empty())
        .map(|path| std::fs::read_to_string(path).unwrap());
    if axe.is_none() {
        eprintln!("NOT CHECKED by axe-core: set TXCAT_AXE to the axe.min.js of `npm install axe-core`");
    }
    let pictures = std::env::var("TXCAT_SCREENSHOTS").ok();
    let (app, pages) = furnished().await;
    let analyst = person(&app, "analyst-1", Role::Admin).await;
    let mut found = Vec::new();
    for (screen, dark) in
        [(Screen::Desktop, false), (Screen::Desktop, true), (Screen::Phone, false), (Screen::Phone, true)]
    {
        let Some(browser) = browser(screen, dark).await else { return };
        let look = format!(
            "{}-{}",
            if screen == Screen::Phone { "phone" } else { "desktop" },
            if dark { "dark" } else { "light" }
        );
        browser.open(&app, "/sign-in").await;
        found.extend(looked_at(&browser, axe.as_deref(), pictures.as_deref(), &format!("{look}-sign-in")).await);
        browser.sign_in(&app, &analyst).await;
        for (name, path) in &pages {
            browser.open(&app, path).await;
            if *name == "review" {
                browser.ready().await;
            }
            assert_eq!(
                browser.evaluate(&format!("matchMedia('(prefers-color-scheme: dark)').matches === {dark}")).await,
                true
            );
            let wide =
                browser.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth").await;
            assert_eq!(wide, false, "{look}: {name} is wider than its screen");
            found.extend(looked_at(&browser, axe.as_deref(), pictures.as_deref(), &format!("{look}-{name}")).await);
        }
        browser.open(&app, "/review?text=corner").await;
        browser.ready().await;
        browser.press("2a").await;
        browser.until("document.querySelectorAll('#preview[open] tbody tr').length === 4").await;
        found.extend(looked_at(&browser, axe.as_deref(), pictures.as_deref(), &format!("{look}-preview")).await);
        browser.close().await;
    }
    assert!(found.is_empty(), "axe-core finds:\n{}", found.join("\n"));
}

/// Takes a picture, and says what axe finds that is serious or critical, and which parts go by one name.
async fn looked_at(browser: &Browser, axe: Option<&str>, pictures: Option<&str>, name: &str) -> Vec<String> {
    if let Some(folder) = pictures {
        // One for each screenful, at most eight.
        let screens = "Math.min(8, Math.ceil(document.documentElement.scrollHeight / innerHeight))";
        let screens = browser.evaluate(screens).await.as_u64().unwrap();
        for screen in 0..screens {
            browser.evaluate(&format!("scrollTo(0, {screen} * innerHeight)")).await;
            let picture = browser.client.screenshot().await.unwrap();
            let number = if screen == 0 { String::new() } else { format!("-{}", screen + 1) };
            std::fs::write(format!("{folder}/{name}{number}.png"), picture).unwrap();
        }
        browser.evaluate("scrollTo(0, 0)").await;
    }
    let Some(axe) = axe else { return Vec::new() };
    browser.client.execute(axe, Vec::new()).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; axe.run().then((found) => done(found.violations), \
               (error) => done([{ impact: 'critical', id: String(error), nodes: [] }]))";
    let violations = browser.client.execute_async(run, Vec::new()).await.unwrap();
    let heavy = violations.as_array().unwrap().iter().filter(|found| {
        found["impact"] == "serious" || found["impact"] == "critical" || found["id"] == "landmark-unique"
    });
    heavy
        .map(|found| {
            let nodes: Vec<String> = found["nodes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|node| format!("{} {}", node["html"], node["failureSummary"]))
                .collect();
            format!("{name}: {} ({}): {}", found["id"], found["impact"], nodes.join("; "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_refuses_is_put_back_and_said() {
    let mut app = inns(2).await;
    let Some(browser) = browser(Screen::Desktop, false).await else { return };
    let analyst = person(&app, "analyst-1", Role::Analyst).await;
    browser.sign_in(&app, &analyst).await;
    app.use_key(&analyst);
    let word = json!({ "category": "coffee_shop", "scope": "transaction" });
    app.post("/v1/transactions/inn-0/correction", &word).await.with(200);
    browser.press(ENTER).await;
    browser.until("document.getElementById('trouble').textContent.includes('decided in the meantime')").await;
    browser.ready().await;
    assert_eq!(stands(&app, "inn-0").await, "coffee_shop by correction, reviewed");
    // What is decided leaves the queue.
    browser.until("!document.getElementById('queue').textContent.includes('ALDER')").await;
    browser.close().await;
}
