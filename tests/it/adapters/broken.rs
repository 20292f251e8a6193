//! Adapters and encoders whose files are damaged: said in a sentence at the start, and kept out of the traffic afterwards.

use std::{fs, path::Path, sync::Arc};

use sqlx::PgPool;
use txcat::{adapters::roster::Roster, categorize::Lineup, domain::adapter::EVERYONE};

use super::{Stand, entry, make};
use crate::{
    database::empty_database,
    harness::{Run as _, txcat},
    model,
};

/// What may become of a file.
type Damage = fn(&[u8]) -> Vec<u8>;

const DAMAGES: [(&str, Damage); 5] = [
    ("cut off", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("empty", |_| Vec::new()),
    ("other bytes", |bytes| bytes.iter().map(|byte| byte ^ 0x5a).collect()),
    ("one bit", |bytes| {
        let mut bytes = bytes.to_vec();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        bytes
    }),
    ("a length that is none", |bytes| [&[0xff; 8][..], &bytes[8..]].concat()),
];

#[tokio::test]
async fn a_damaged_adapter_gets_no_traffic_and_those_who_answered_go_on() {
    let stand = Stand::start().await;
    let before = stand.send("before", 20).await;
    let good = before[0]["engine"].as_str().unwrap().to_owned();
    // Nobody may have loaded it before it is damaged.
    stand.follows.abort();
    let other = stand.register("other", true, EVERYONE).await;
    let pool = PgPool::connect(&stand.app.database.url).await.unwrap();
    let read = "select content from adapter_files where adapter_id = $1 and path = 'adapter_model.safetensors'";
    let whole: Vec<u8> = sqlx::query_scalar(read).bind(other.id).fetch_one(&pool).await.unwrap();
    let write = async |content: &[u8]| {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::raw_sql("set session_replication_role = replica").execute(&mut *connection).await.unwrap();
        let change =
            "update adapter_files set content = $2 where adapter_id = $1 and path = 'adapter_model.safetensors'";
        sqlx::query(change).bind(other.id).bind(content).execute(&mut *connection).await.unwrap();
        sqlx::raw_sql("set session_replication_role = origin").execute(&mut *connection).await.unwrap();
    };
    for (round, (damage, damaged)) in DAMAGES.into_iter().enumerate() {
        write(&damaged(&whole)).await;
        let to = ["shadow", "canary", "champion"][round.min(2)];
        if round < 3 {
            stand.force("other@1", to, 1.0).await;
        }
        let mut roster = roster(&stand);
        let lineup: Result<Lineup, _> = roster.lineup().await;
        if to == "champion" {
            let says = txcat::causes::with_causes(&lineup.err().unwrap());
            assert!(says.len() < 500 && !says.contains("panick"), "{damage}: {says}");
        } else {
            assert_eq!(lineup.unwrap().champion().engine(), good, "{damage}");
        }
    }
    // While serving, those who answered go on, although the registry has it as champion.
    let follows = tokio::spawn(roster(&stand).follow(Arc::clone(&stand.app.pipeline)));
    let results = stand.send("after", 40).await;
    assert!(results.iter().all(|result| result["engine"] == good.as_str()));
    // Mended, it answers; whoever follows hears of the next change.
    write(&whole).await;
    stand.register("third", true, EVERYONE).await;
    stand.force("third@1", "shadow", 1.0).await;
    stand.until_answers(&other.engine, true).await;
    follows.abort();
    pool.close().await;
}

/// A service's look at the registry, which has loaded nothing yet.
fn roster(stand: &Stand) -> Roster {
    Roster::new(stand.app.store.clone(), stand.bank.clone(), entry(), Arc::clone(&stand.taxonomy))
}

/// What `txcat serve` says, which must end by itself.
async fn refused(encoder: &Path, arguments: &[&str]) -> String {
    let database = empty_database().await;
    let mut command = txcat(&["serve", "--bind", "127.0.0.1:0", "--workers", "0", "--encoder-dir"]);
    let error = command.arg(encoder).args(arguments).on(&database.url).run().refused(1);
    error.lines().last().unwrap().to_owned()
}

#[tokio::test]
async fn damaged_files_are_named_at_the_start() {
    let (encoder, base) = model::tiny_encoder();
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    make(&base, &adapter, true, 1);
    let categories = folder.path().join("categories.csv");
    fs::write(&categories, "category,description\ncafes,coffee and cake\nfuel,petrol and diesel\n").unwrap();
    let with_adapter =
        ["--stage", "adapter", "--adapter", adapter.to_str().unwrap(), "--taxonomy", categories.to_str().unwrap()];
    let few_shot = ["--stage", "few_shot"];
    for (file, arguments) in [
        (adapter.join("adapter_model.safetensors"), &with_adapter[..]),
        (adapter.join("adapter_config.json"), &with_adapter),
        (encoder.path().join("model.safetensors"), &few_shot),
        (encoder.path().join("tokenizer.json"), &few_shot),
        (encoder.path().join("config.json"), &few_shot),
    ] {
        let name = file.file_name().unwrap().to_str().unwrap();
        let whole = fs::read(&file).unwrap();
        for (damage, damaged) in &DAMAGES[..3] {
            fs::write(&file, damaged(&whole)).unwrap();
            let says = refused(encoder.path(), arguments).await;
            assert!(says.starts_with("txcat: ") && says.len() < 600, "{name}, {damage}: {says}");
            let names = says.contains(name) || says.contains(adapter.to_str().unwrap());
            assert!(names, "{name}, {damage}: {says}");
        }
        fs::remove_file(&file).unwrap();
        let says = refused(encoder.path(), arguments).await;
        assert!(says.starts_with("txcat: ") && says.contains(name), "{name}, gone: {says}");
        fs::write(&file, whole).unwrap();
    }
}
