//! Stored transactions categorized anew: from preview to undo, with people who speak in between.

pub(crate) mod api;
mod faults;
mod guards;
mod remembered;
mod taxonomy;

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use txcat::{
    categorize::{Categorizer, Lineup, Stage},
    clock,
    domain::{
        Acceptance, ChangeState, CorrectionScope, Enrichment, LeftBecause, RecategorizationScope, ReviewReason,
        Taxonomy, Transaction,
    },
    enrich::Enricher,
    pipeline::Pipeline,
    recategorize::{
        Guards, Plan, Report,
        apply::{self, Ask},
        preview,
    },
    store::{ChangeFilter, ImportedLabel, Store},
};

use crate::{
    database::{TestDatabase, fresh_store},
    harness::{Line, Scripted},
    store::{correction, hour, id, in_force, row, slug},
};

/// What the next engine says: other markets, and surely fast food where the first was in doubt.
pub(crate) const NEXT: &[Line] = &[
    ("COFFEE", "coffee_shop", 0.96875, "restaurant"),
    ("MARKET", "convenience_store", 0.9375, "supermarket"),
    ("", "fast_food", 0.96875, "restaurant"),
];

/// A database with transactions that one engine has answered.
pub(crate) struct Stand {
    pub(crate) store: Store,
    pub(crate) taxonomy: Arc<Taxonomy>,
    pub(crate) database: TestDatabase,
}

impl Stand {
    pub(crate) async fn start() -> Self {
        let (store, database) = fresh_store().await;
        let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
        store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
        Self { store, taxonomy, database }
    }

    pub(crate) fn pipeline(&self, engine: impl Categorizer + 'static) -> Pipeline {
        let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine));
        stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
        self.of(stage)
    }

    fn of(&self, stage: Stage) -> Pipeline {
        Pipeline::new(self.store.clone(), Enricher::new(self.store.clone()), Lineup::alone(stage), 0.25)
    }

    fn first(&self) -> Pipeline {
        self.pipeline(Scripted::new(self.taxonomy.version()))
    }

    pub(crate) fn next(&self) -> Pipeline {
        self.pipeline(Scripted::saying(self.taxonomy.version(), "scripted@2", NEXT))
    }

    /// Rows that the first engine answers.
    pub(crate) async fn answered(&self, rows: &[Transaction]) {
        for rows in rows.chunks(1_000) {
            self.first().process(rows, None, hour(1_000)).await.unwrap();
        }
    }

    /// Everything that apps and people see, in one text.
    pub(crate) async fn dump(&self) -> String {
        let mut text = String::new();
        for table in ["in_force", "review_items", "corrections", "account_rules"] {
            text += &format!("{table}\n{}\n", self.text(&format!("select t::text from {table} t order by 1")).await);
        }
        text
    }

    /// The lines that a query gives.
    pub(crate) async fn text(&self, query: &str) -> String {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        let lines: Vec<Option<String>> =
            sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut connection).await.unwrap();
        lines.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn planned(&self, pipeline: &Pipeline, scope: RecategorizationScope) -> i64 {
        let plan = Plan { scope, adapter: None, reason: "a better engine".to_owned(), by: "night".to_owned() };
        preview::plan(&self.store, pipeline, plan, None, hour(2_000)).await.unwrap()
    }

    /// A previewed run of the next engine.
    pub(crate) async fn previewed(&self, scope: RecategorizationScope) -> i64 {
        let pipeline = self.next();
        let run = self.planned(&pipeline, scope).await;
        preview::run(&self.store, &pipeline, run, &|_, _| {}).await.unwrap();
        run
    }

    /// Lets a run be applied whatever the guards say.
    pub(crate) async fn allow(&self, run: i64) {
        let ask = Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "night".to_owned() };
        apply::allow(&self.store, run, &ask, hour(2_001)).await.unwrap();
    }

    /// Applies a run whatever the guards say.
    pub(crate) async fn apply(&self, run: i64) {
        self.allow(run).await;
        apply::apply(&self.store, run, hour(2_001), &|_, _| {}).await.unwrap();
    }

    pub(crate) async fn undo(&self, run: i64) {
        apply::undo(&self.store, run, "night", hour(2_002), &|_, _| {}).await.unwrap();
    }

    pub(crate) async fn report(&self, run: i64) -> Report {
        Report::of(&self.store, run).await.unwrap()
    }

    /// How many of a run's rows are in a state, by why.
    async fn tally(&self, run: i64, state: ChangeState) -> Vec<(Option<LeftBecause>, u64)> {
        let changes = self.report(run).await.changes;
        changes.iter().filter(|of| of.state == state).map(|of| (of.why, of.rows)).collect()
    }
}

pub(crate) fn everything() -> RecategorizationScope {
    RecategorizationScope { everything: true, ..Default::default() }
}

/// Cafés, markets and places in turn, on three accounts: `t0` is a café, `t1` a market, `t2` a place.
pub(crate) fn rows(count: usize) -> Vec<Transaction> {
    let of = |n: usize| {
        let descriptor = [format!("COFFEE {}", name(n)), format!("MARKET {}", name(n)), format!("PLACE {}", name(n))];
        row(&format!("t{n}"), &format!("account-{}", n % 4), n as i64 % 500, &descriptor[n % 3])
    };
    (0..count).map(of).collect()
}

/// One of 17 words without digits.
fn name(n: usize) -> String {
    char::from(b'A' + (n % 17) as u8).to_string().repeat(4)
}

#[tokio::test]
async fn a_preview_counts_what_would_change_and_changes_nothing() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let live = stand.store.live_tally("scripted@1", hour(0), None).await.unwrap();
    let pipeline = stand.next();
    let run = stand.planned(&pipeline, everything()).await;
    // Not of the scope: it came after that was fixed.
    stand.answered(&[row("late", "account-9", 3, "MARKET LATE")]).await;
    preview::run(&stand.store, &pipeline, run, &|_, _| {}).await.unwrap();

    let report = stand.report(run).await;
    let diff = report.diff.unwrap();
    assert_eq!((report.rows, report.seen, diff.changed, diff.failed), (60, 60, 40, 0));
    let pairs: Vec<_> = diff.pairs.iter().map(|pair| (pair.from.as_str(), pair.to.as_str(), pair.rows)).collect();
    assert_eq!(pairs, [("restaurant", "fast_food", 20), ("supermarket", "convenience_store", 20)]);
    let of = |category: &str| diff.categories.iter().find(|of| of.category.as_str() == category).unwrap();
    assert_eq!((of("coffee_shop").before, of("coffee_shop").after), (20, 20));
    assert_eq!((of("restaurant").before, of("restaurant").after), (20, 0));
    assert_eq!((of("fast_food").before, of("fast_food").after), (0, 20));
    assert_eq!((diff.money[0].amount.to_string().as_str(), diff.money[0].currency.code()), ("500.00", "CAD"));
    assert_eq!((diff.accounts, diff.samples.len(), diff.accuracy), (4, 6, None));

    assert_eq!(stand.text("select count(*)::text from predictions where engine = 'scripted@2'").await, "0");
    assert_eq!(in_force(&stand.store, "t1").await, "supermarket by stage, accepted");
    let after = stand.store.live_tally("scripted@1", hour(0), None).await.unwrap();
    assert_eq!((live.answered, after.answered), (60, 61));
}

#[tokio::test]
async fn undo_gives_back_every_byte() {
    let stand = Stand::start().await;
    stand.answered(&rows(90)).await;
    for (of, category, scope) in [
        ("t1", "supermarket", CorrectionScope::Transaction),
        ("t2", "bakery", CorrectionScope::AccountMerchant),
        ("t3", "restaurant", CorrectionScope::Transaction),
    ] {
        stand.store.correct(&correction(of, category, scope, 1_100)).await.unwrap();
    }
    let label = ImportedLabel { transaction_id: id("t4"), category: slug("supermarket"), known_at: hour(5) };
    stand.store.import_labels(&[label], "import", hour(1_100)).await.unwrap();
    // The rule of `t2` decides this one.
    stand.answered(&[row("ruled", "account-2", 600, "PLACE CCCC")]).await;
    assert_eq!(in_force(&stand.store, "ruled").await, "bakery by account_rule, accepted");
    let before = stand.dump().await;
    let live = stand.store.live_accuracy().await.unwrap();

    let run = stand.previewed(everything()).await;
    assert_eq!(stand.dump().await, before, "a preview changes nothing");
    let diff = stand.report(run).await.diff.unwrap();
    assert_eq!((diff.rows, diff.people, diff.rules), (91, 4, 1));
    stand.apply(run).await;
    let applied = stand.dump().await;
    assert_ne!(applied, before);
    assert_eq!(stand.tally(run, ChangeState::Applied).await, [(None, diff.changed)]);
    for (row, says) in [
        ("t1", "supermarket by correction, reviewed"),
        ("t3", "restaurant by correction, reviewed"),
        ("t4", "supermarket by import, reviewed"),
        ("ruled", "bakery by account_rule, accepted"),
    ] {
        assert_eq!(in_force(&stand.store, row).await, says, "{row}");
    }
    assert!(in_force(&stand.store, "t7").await.starts_with("convenience_store by stage"));
    assert_ne!(stand.store.live_accuracy().await.unwrap(), live, "what is in force is another engine's");

    stand.undo(run).await;
    assert_eq!(stand.dump().await, before);
    assert_eq!(stand.store.live_accuracy().await.unwrap(), live);
    assert_eq!(stand.tally(run, ChangeState::Undone).await, [(None, diff.changed)]);
    assert_eq!(stand.report(run).await.phase.as_str(), "undone");
}

#[tokio::test]
async fn what_was_drawn_or_doubtful_is_asked_about_again_after_undo() {
    let stand = Stand::start().await;
    stand.answered(&rows(30)).await;
    let open = "select transaction_id || reason from review_items where resolved_at is null order by 1";
    let before = stand.text(open).await;
    let run = stand.previewed(everything()).await;
    stand.apply(run).await;
    assert_ne!(stand.text(open).await, before, "the next engine is not in doubt");
    stand.undo(run).await;
    assert_eq!(stand.text(open).await, before);
}

#[tokio::test]
async fn whoever_speaks_between_preview_and_apply_is_heard() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let run = stand.previewed(everything()).await;
    // A correction, a confirmation, a rule that covers other rows of the preview, and a row that was replaced.
    stand.store.correct(&correction("t1", "bakery", CorrectionScope::Transaction, 1_200)).await.unwrap();
    stand.store.correct(&correction("t5", "restaurant", CorrectionScope::AccountMerchant, 1_200)).await.unwrap();
    let covered: Vec<String> = stand
        .text("select t.id from transactions t join account_rules using (account_id, descriptor_key, direction) order by 1")
        .await
        .lines()
        .map(str::to_owned)
        .collect();
    let before = stand.dump().await;
    stand.apply(run).await;

    assert_eq!(in_force(&stand.store, "t1").await, "bakery by correction, reviewed");
    assert_eq!(in_force(&stand.store, "t5").await, "restaurant by correction, reviewed");
    let skipped = ChangeFilter { state: Some(ChangeState::Skipped), ..Default::default() };
    let skipped = stand.store.recategorization_changes(run, &skipped, None, 100).await.unwrap();
    assert!(skipped.iter().all(|row| row.why == Some(LeftBecause::Person)));
    let mut left: Vec<String> = skipped.iter().map(|row| row.transaction_id.to_string()).collect();
    left.sort();
    let mut expected = covered;
    expected.push("t1".to_owned());
    expected.sort();
    assert_eq!(left, expected);
    stand.undo(run).await;
    assert_eq!(stand.dump().await, before, "what was said in between stays, and nothing else");
}

#[tokio::test]
async fn whoever_speaks_between_apply_and_undo_is_heard() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let run = stand.previewed(everything()).await;
    stand.apply(run).await;
    stand.store.correct(&correction("t1", "bakery", CorrectionScope::Transaction, 2_100)).await.unwrap();
    stand.store.correct(&correction("t2", "fast_food", CorrectionScope::AccountMerchant, 2_100)).await.unwrap();
    stand.undo(run).await;

    assert_eq!(in_force(&stand.store, "t1").await, "bakery by correction, reviewed");
    assert_eq!(in_force(&stand.store, "t2").await, "fast_food by correction, reviewed");
    assert_eq!(in_force(&stand.store, "t4").await, "supermarket by stage, accepted");
    assert_eq!(stand.tally(run, ChangeState::Kept).await, [(Some(LeftBecause::Person), 2)]);
    assert_eq!(stand.text("select category from account_rules").await, "fast_food");
    let kept = ChangeFilter { state: Some(ChangeState::Kept), ..Default::default() };
    let kept = stand.store.recategorization_changes(run, &kept, None, 100).await.unwrap();
    assert_eq!(kept.iter().map(|row| row.transaction_id.as_str()).collect::<Vec<_>>(), ["t1", "t2"]);
}

#[tokio::test]
async fn a_row_of_which_a_customer_complained_waits_for_a_person_whatever_runs_do() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let complain = async |of: &str| {
        assert_eq!(stand.store.ask_people(&[id(of)], ReviewReason::Complaint, hour(2_100)).await.unwrap(), 1);
    };
    let run = stand.previewed(everything()).await;
    complain("t1").await;
    stand.apply(run).await;
    assert_eq!(in_force(&stand.store, "t1").await, "supermarket by stage, pending");
    assert_eq!(stand.tally(run, ChangeState::Skipped).await, [(Some(LeftBecause::Person), 1)]);

    stand.store.correct(&correction("t4", "bakery", CorrectionScope::Transaction, 2_100)).await.unwrap();
    complain("t4").await;
    complain("t7").await;
    stand.undo(run).await;
    assert_eq!(in_force(&stand.store, "t4").await, "bakery by correction, pending");
    assert_eq!(in_force(&stand.store, "t7").await, "convenience_store by stage, pending");
    assert_eq!(in_force(&stand.store, "t10").await, "supermarket by stage, accepted");
    assert_eq!(stand.tally(run, ChangeState::Kept).await, [(Some(LeftBecause::Person), 2)]);
    let open = "select transaction_id from review_items where reason = 'complaint' and resolved_at is null order by 1";
    assert_eq!(stand.text(open).await, "t1\nt4\nt7");
}

#[tokio::test]
async fn a_scope_takes_rows_that_are_all_it_says() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let scopes = [
        (RecategorizationScope { categories: vec![slug("restaurant")], ..Default::default() }, 20),
        (RecategorizationScope { account_ids: vec!["account-1".parse().unwrap()], ..Default::default() }, 15),
        (RecategorizationScope { below_confidence: Some(0.9), ..Default::default() }, 20),
        (RecategorizationScope { engines: vec!["scripted@1".to_owned()], ..Default::default() }, 60),
        (RecategorizationScope { engines: vec!["scripted@2".to_owned()], ..Default::default() }, 0),
        (RecategorizationScope { from: Some(hour(10)), to: Some(hour(20)), ..Default::default() }, 10),
        (
            RecategorizationScope {
                descriptor_keys: vec![rows(1)[0].descriptor.key().clone()],
                categories: vec![slug("coffee_shop")],
                ..Default::default()
            },
            2,
        ),
        (
            RecategorizationScope {
                categories: vec![slug("restaurant"), slug("coffee_shop")],
                account_ids: vec!["account-1".parse().unwrap()],
                to: Some(hour(12)),
                ..Default::default()
            },
            2,
        ),
    ];
    for (scope, expected) in scopes {
        let run = stand.previewed(scope.clone()).await;
        let report = stand.report(run).await;
        assert_eq!((report.rows, report.seen), (expected, expected), "{scope:?}");
    }
}

#[tokio::test]
async fn figures_of_live_traffic_leave_a_recategorization_out() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    stand.store.correct(&correction("t2", "fast_food", CorrectionScope::Transaction, 1_100)).await.unwrap();
    let figures = async || {
        let store = &stand.store;
        let tallies = (
            store.live_tally("scripted@1", hour(0), None).await.unwrap(),
            store.live_tally("scripted@2", hour(0), None).await.unwrap(),
            store.first_tally("scripted@1", hour(0), 50).await.unwrap(),
        );
        let counts = (
            store.answer_counts("scripted@1", hour(0), None, 10).await.unwrap(),
            store.answer_counts("scripted@2", hour(0), None, 10).await.unwrap(),
        );
        let corrected = store.corrected(10).await.unwrap();
        format!("{tallies:?}\n{counts:?}\n{corrected:?}")
    };
    let before = figures().await;
    let run = stand.previewed(everything()).await;
    assert_eq!(figures().await, before);
    stand.apply(run).await;
    let now = figures().await;
    let of = |figures: &str, line: usize| figures.lines().nth(line).unwrap().to_owned();
    assert_eq!((of(&now, 1), of(&now, 2)), (of(&before, 1), of(&before, 2)), "what drift and correction read");
    stand.undo(run).await;
    assert_eq!(figures().await, before);
}
