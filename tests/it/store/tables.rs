use sqlx::PgPool;
use txcat::{
    access::{self, Access, FreshKey, Holder, KeyRequest, LOCAL, Rotation, Scope},
    domain::{Merchant, Taxonomy},
    store::{Calibration, EvalItem, NewEvalRun, Store},
};

use super::{hour, slug};
use crate::database::fresh_store;

fn merchant(id: &str, name: &str) -> Merchant {
    Merchant {
        id: id.to_owned(),
        name: name.to_owned(),
        aliases: vec!["A \"quoted\" one".to_owned(), "Über, Café".to_owned()],
        kind: "shop=supermarket".to_owned(),
        category: Some(slug("groceries")),
        countries: vec!["CA".parse().unwrap(), "US".parse().unwrap()],
        wikidata: Some("Q1".to_owned()),
    }
}

#[tokio::test]
async fn the_columns_that_this_version_expects_are_those_that_the_migrations_make() {
    let (_store, database) = fresh_store().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let made: Vec<String> = sqlx::query_scalar(
        "select table_name || '.' || column_name
        from information_schema.columns
        where table_schema = 'public'
        and table_name <> '_sqlx_migrations'
        order by (table_name || '.' || column_name) collate \"C\"",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let expected: Vec<&str> = include_str!("../../../src/store/columns.txt").lines().collect();
    assert_eq!(expected, made, "`.ci/sqlx-prepare` writes src/store/columns.txt");
    pool.close().await;
}

#[tokio::test]
async fn merchants_come_back_and_every_change_raises_the_version() {
    let (store, _database) = fresh_store().await;
    let bare = Merchant { aliases: vec![], countries: vec![], category: None, wikidata: None, ..merchant("b", "Bare") };
    let before = store.merchants_version().await.unwrap();
    let told = [merchant("a", "First"), bare.clone(), merchant("a", "Last")];
    assert_eq!(store.upsert_merchants(&told, "test").await.unwrap(), 2);
    assert_eq!(store.merchants().await.unwrap(), [merchant("a", "Last"), bare.clone()]);
    assert_eq!(store.upsert_merchants(&[bare], "test").await.unwrap(), 0, "nothing differs");
    assert!(store.merchants_version().await.unwrap() > before);
}

#[tokio::test]
async fn a_taxonomy_version_is_stored_once_and_comes_back() {
    let (store, _database) = fresh_store().await;
    let taxonomy = Taxonomy::consumer().unwrap();
    assert!(store.sync_taxonomy(&taxonomy, hour(0)).await.unwrap());
    assert!(!store.sync_taxonomy(&taxonomy, hour(1)).await.unwrap());
    let stored = store.taxonomy(taxonomy.version()).await.unwrap().unwrap();
    assert_eq!(stored.categories, taxonomy.categories());
    assert!(store.taxonomy("other@00000000").await.unwrap().is_none());
}

#[tokio::test]
async fn eval_runs_keep_their_rows_and_count_how_often_a_file_was_scored() {
    let (store, _database) = fresh_store().await;
    let run = |stage: &str, started: i64| NewEvalRun {
        started_at: hour(started),
        data_set: "demo".to_owned(),
        file: "dev.csv".to_owned(),
        file_sha256: [7; 32],
        stage: stage.to_owned(),
        engine: format!("{stage}@00000000"),
        taxonomy: "demo@00000000".to_owned(),
        peer: false,
        label_budget: Some(100),
        labels_sha256: Some([9; 32]),
        seed: Some(1),
        code_version: Some("0.1.0".to_owned()),
        target: Some(0.92),
        rows: 2,
        correct: 1,
        known_rows: 1,
        known_correct: 1,
        macro_f1: 0.5,
        ece: Some(0.1),
        coverage_at_target: Some(0.5),
        rows_per_s: Some(10.0),
        cost_per_1000: None,
        currency: None,
    };
    let item = |id: &str, known_key| EvalItem {
        item_id: id.to_owned(),
        expected: "fuel".to_owned(),
        predicted: "fees".to_owned(),
        confidence: 0.5,
        known_key,
        ..EvalItem::default()
    };
    assert_eq!(store.times_scored(&[7; 32]).await.unwrap(), 0);
    let items = [item("a", true), item("b", false)];
    let first = store.insert_run(&run("few_shot", 1), &items).await.unwrap();
    store.insert_run(&run("adapter", 1), &items).await.unwrap();
    let second = store.insert_run(&run("few_shot", 2), &items).await.unwrap();
    assert_eq!(store.times_scored(&[7; 32]).await.unwrap(), 2, "two commands, three runs");
    let latest = store.latest_runs().await.unwrap();
    assert_eq!(latest.iter().map(|run| run.run.stage.as_str()).collect::<Vec<_>>(), ["adapter", "few_shot"]);
    assert!(latest[1].id == second && second > first && latest[1].run == run("few_shot", 2));
    assert_eq!(store.eval_items(first).await.unwrap(), items);

    let mut fitted = Calibration {
        engine: "few_shot@00000000".to_owned(),
        taxonomy: "demo@00000000".to_owned(),
        target: 0.92,
        parameters: serde_json::json!({ "temperature": 1.5 }),
        rows: 100,
        fitted_on: "demo/dev.csv".to_owned(),
        fitted_at: hour(3),
    };
    store.put_calibration(&fitted).await.unwrap();
    fitted.rows = 200;
    store.put_calibration(&fitted).await.unwrap();
    assert_eq!(store.calibrations(&fitted.taxonomy).await.unwrap(), [fitted.clone()]);
    assert_eq!(store.calibrations("other").await.unwrap(), []);
}

async fn make(store: &Store, name: &str, expires: Option<i64>) -> Result<FreshKey, access::Error> {
    let holder = Holder::Program(vec![Scope::Read]);
    let request = KeyRequest {
        name: name.to_owned(),
        holder,
        expires_at: expires.map(hour),
        made_by: LOCAL.to_owned(),
        limits: Default::default(),
    };
    let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
    FreshKey::create(store, request, random, hour(0)).await
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_a_while_beside_the_one_that_takes_its_place() {
    let (store, _database) = fresh_store().await;
    let access = Access::new(store.clone(), "127.0.0.1:0".parse().unwrap(), hour(0)).await.unwrap();
    let old = make(&store, "app", Some(48)).await.unwrap();
    let rotate = async |key: &str, at| {
        let overlap = chrono::TimeDelta::hours(2);
        let rotation = Rotation { overlap, expires_at: None, made_by: LOCAL.to_owned() };
        let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
        FreshKey::rotate(&store, key, rotation, random, hour(at)).await.unwrap()
    };
    let opens = async |key: &FreshKey, at| {
        access
            .authenticate(Some(&format!("Bearer {}", key.reveal())), hour(at))
            .await
            .is_ok_and(|caller| caller.name() == "app")
    };
    let (new, ends) = rotate("app", 10).await.unwrap();
    assert_eq!(ends, hour(12));
    assert!(opens(&old, 11).await && opens(&new, 11).await, "both, meanwhile");
    assert!(!opens(&old, 12).await, "the overlap is over");
    assert!(opens(&new, 57).await && !opens(&new, 58).await, "as long as the old one was made for");
    assert!(rotate(old.prefix(), 11).await.is_none(), "it has a successor");
    let (newest, _) = rotate("app", 20).await.unwrap();
    assert!(store.revoke_key("app", LOCAL, hour(21)).await.unwrap());
    assert!(!opens(&new, 21).await && !opens(&newest, 21).await, "a name closes them all");
    assert!(rotate("app", 22).await.is_none() && rotate("nobody", 22).await.is_none());
}

#[tokio::test]
async fn keys_open_what_they_name_until_they_expire_or_are_revoked() {
    let (store, database) = fresh_store().await;
    let (here, anywhere) = ("127.0.0.1:0".parse().unwrap(), "0.0.0.0:0".parse().unwrap());
    let refusal = Access::new(store.clone(), anywhere, hour(0)).await.unwrap_err();
    assert!(matches!(refusal, access::Error::Exposed { .. }), "{refusal}");
    let access = Access::new(store.clone(), here, hour(0)).await.unwrap();
    assert!(access.is_open() && access.authenticate(None, hour(0)).await.unwrap().may(Scope::Admin));

    let key = make(&store, "app", None).await.unwrap();
    assert!(matches!(make(&store, "app", None).await, Err(access::Error::NameTaken)));
    let short = make(&store, "short", Some(2)).await.unwrap();
    assert!(matches!(access.authenticate(None, hour(0)).await, Err(access::Error::NoKey)));
    let bearer = |key: &FreshKey| format!("Bearer {}", key.reveal());
    let caller = access.authenticate(Some(&bearer(&key)), hour(3)).await.unwrap();
    assert!(caller.name() == "app" && caller.may(Scope::Read) && !caller.may(Scope::Ingest));
    assert!(access.authenticate(Some(&bearer(&short)), hour(1)).await.is_ok());
    let refused =
        async |header: &str, at| matches!(access.authenticate(Some(header), at).await, Err(access::Error::InvalidKey));
    assert!(refused(&bearer(&short), hour(2)).await, "expired");
    assert!(refused(&format!("{}0", bearer(&key)), hour(1)).await, "another secret");
    assert!(refused("Bearer txcat_000000000000_00", hour(1)).await, "unknown");
    assert!(Access::new(store.clone(), anywhere, hour(1)).await.is_ok());

    assert!(store.revoke_key("app", LOCAL, hour(4)).await.unwrap());
    assert!(!store.revoke_key("app", LOCAL, hour(4)).await.unwrap());
    assert!(refused(&bearer(&key), hour(4)).await, "revoked");
    assert!(Access::new(store.clone(), anywhere, hour(4)).await.is_err(), "none of the keys opens anything");
    let locked = Access::new(store.clone(), here, hour(4)).await.unwrap();
    assert!(locked.authenticate(None, hour(4)).await.is_err(), "revoking the last key locks");

    // The secret is nowhere in the table.
    let secret = key.reveal();
    let secret = secret.rsplit('_').next().unwrap();
    let pool = PgPool::connect(&database.url).await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar("select api_keys::text from api_keys").fetch_all(&pool).await.unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| !row.contains(secret)));
    pool.close().await;
}
