use std::{collections::BTreeMap, time::Instant};

use sqlx::PgPool;
use txcat::{
    domain::Taxonomy,
    evaluate::{
        metrics::{self, Confusion, Scored},
        paired::{self, Pair},
        resample::SEED,
        tracker,
    },
    store::EvalItem,
};

use super::{CATEGORIES, answered, run, stored};
use crate::database::fresh_store;

/// The same rows as the pure arithmetic takes them: categories by their place in the taxonomy.
fn scored(items: &[EvalItem], taxonomy: &Taxonomy) -> Vec<Scored> {
    let place = |slug: &str| taxonomy.index_of(&slug.parse().unwrap()).unwrap_or(taxonomy.assignable().len());
    let row = |item: &EvalItem| Scored {
        gold: place(&item.expected),
        answer: place(&item.predicted),
        confidence: item.confidence,
        known: item.known_key,
        knows_key: item.known_key,
    };
    items.iter().map(row).collect()
}

fn near(found: f64, known: f64) {
    assert!((found - known).abs() < 1e-9, "{found}, not {known}");
}

#[tokio::test]
async fn postgres_computes_what_the_arithmetic_does() {
    let (store, _database) = fresh_store().await;
    let taxonomy = Taxonomy::consumer().unwrap();
    for (seed, rows) in [(1, 1_007), (2, 15), (3, 4)] {
        let items = answered(seed, rows, 0.8);
        let id = stored(&store, "adapter", &items).await;
        assert_eq!(store.eval_items(id).await.unwrap(), items, "what was stored comes back");
        let report = tracker::measured(&store, id).await.unwrap().report().unwrap();
        let scored = scored(&items, &taxonomy);
        let (confusion, ranked) = (Confusion::of(&scored), metrics::ranked(&scored).unwrap());
        let figures = report.figures;

        assert_eq!(Some(figures.accuracy), metrics::accuracy(&scored, |_| true));
        let answers = items.iter().filter(|item| item.error.is_none()).count();
        let right = scored.iter().filter(|row| row.correct()).count();
        assert_eq!(figures.answered, metrics::wilson(right, answers));
        let three = items.iter().filter(|item| item.gold_rank.is_some_and(|rank| rank <= 3)).count();
        assert_eq!(figures.top3, metrics::wilson(three, rows));
        assert_eq!(figures.primary, confusion.primary_accuracy(&taxonomy.primaries()));
        near(figures.macro_f1, confusion.macro_f1());
        near(figures.weighted_f1, confusion.weighted_f1());
        let truths: Vec<f32> = items.iter().filter_map(|item| item.gold_probability).collect();
        near(figures.log_loss.unwrap(), metrics::log_loss(&truths).unwrap());
        near(figures.answer_brier.unwrap(), metrics::answer_brier(&scored).unwrap());
        near(figures.ece.unwrap(), ranked.ece);
        near(figures.aurc.unwrap(), ranked.aurc);
        assert_eq!(report.bins.len(), ranked.bins.len());
        for (found, known) in report.bins.iter().zip(&ranked.bins) {
            assert_eq!(found.rows, known.rows);
            near(found.confidence, known.confidence);
            near(found.accuracy, known.accuracy);
            near(found.coverage, known.coverage);
            near(found.risk, known.risk);
        }
        let support: usize = report.classes.iter().map(|class| class.support).sum();
        let wrong: usize = report.mistakes.iter().map(|mistake| mistake.rows).sum();
        assert!(support == rows && wrong == rows - right, "{support} {wrong}");
        assert!(figures.accuracy_by_merchant.low <= figures.accuracy.share);
        assert!(figures.accuracy_by_merchant.high >= figures.accuracy.share);
        assert!(figures.f1_by_merchant.weighted_f1.low <= figures.weighted_f1);
    }
}

#[tokio::test]
async fn slices_of_one_kind_add_up_to_the_rows_that_tell() {
    let (store, _database) = fresh_store().await;
    let items = answered(1, 600, 0.8);
    let id = stored(&store, "adapter", &items).await;
    let report = tracker::measured(&store, id).await.unwrap().report().unwrap();
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for slice in &report.slices {
        *sums.entry(&slice.slice).or_default() += slice.accuracy.n;
    }
    let countries = items.iter().filter(|item| item.country.is_some()).count();
    assert!(countries < 600);
    let all = ["account_age", "amount", "direction", "key", "merchant", "month", "primary"].map(|kind| (kind, 600));
    assert_eq!(sums, all.into_iter().chain([("country", countries)]).collect());
    let of = |kind: &str, value: &str| {
        report.slices.iter().find(|slice| slice.slice == kind && slice.value == value).unwrap().accuracy
    };
    let known: Vec<&EvalItem> = items.iter().filter(|item| item.known_key).collect();
    let right = known.iter().filter(|item| item.gold_rank == Some(1)).count();
    assert_eq!(Some(of("key", "known")), metrics::wilson(right, known.len()));
    let large = items.iter().filter(|item| item.amount.is_some_and(|amount| amount >= 1_000.into())).count();
    assert_eq!(of("amount", "1,000 and more").n, large);
    let january = items.iter().filter(|item| item.posted_at.unwrap().to_rfc3339().starts_with("2026-01")).count();
    assert_eq!(of("month", "2026-01").n, january);
    let eating_out = items.iter().filter(|item| CATEGORIES[..3].contains(&item.expected.as_str())).count();
    assert_eq!(of("primary", "eating_out").n, eating_out);
}

#[tokio::test]
async fn a_run_from_before_and_a_peers_run_have_the_figures_that_their_rows_tell() {
    let (store, _database) = fresh_store().await;
    let bare = |item: EvalItem| EvalItem {
        item_id: item.item_id,
        expected: item.expected,
        predicted: item.predicted,
        known_key: item.known_key,
        confidence: item.confidence,
        gold_rank: item.gold_rank.filter(|rank| *rank == 1),
        ..EvalItem::default()
    };
    let items: Vec<EvalItem> = answered(1, 200, 0.8).into_iter().map(bare).collect();
    let old = stored(&store, "adapter", &items).await;
    let old = tracker::measured(&store, old).await.unwrap().report().unwrap();
    assert!(old.figures.ece.is_some() && old.figures.log_loss.is_none() && old.figures.top3.is_none());
    assert!(old.slices.iter().all(|slice| ["key", "primary"].contains(&slice.slice.as_str())));

    let mut peer = run("svc", &items);
    (peer.peer, peer.engine) = (true, String::new());
    (peer.target, peer.ece, peer.coverage_at_target, peer.rows_per_s) = (None, None, None, None);
    let peer = store.insert_run(&peer, &items).await.unwrap();
    let peer = tracker::measured(&store, peer).await.unwrap().report().unwrap();
    assert!(peer.bins.is_empty() && peer.figures.ece.is_none() && peer.figures.answer_brier.is_none());
    assert_eq!(peer.figures.macro_f1, old.figures.macro_f1);
    let shown = store.latest_runs().await.unwrap();
    assert_eq!(shown.len(), 1, "a peer is no stage");
    let nobody = tracker::measured(&store, 77).await.unwrap_err();
    assert_eq!(nobody.to_string(), "there is no eval run 77");
}

#[tokio::test]
async fn two_runs_are_compared_as_their_rows_are() {
    let (store, _database) = fresh_store().await;
    let (before, after) = (answered(1, 800, 0.75), answered(2, 800, 0.9));
    let (theirs, ours) = (stored(&store, "few_shot", &before).await, stored(&store, "adapter", &after).await);
    let compared = tracker::pairing(&store, ours, theirs).await.unwrap().compare().unwrap();
    let right = |item: &EvalItem| item.gold_rank == Some(1);
    let mut pairs: Vec<Pair<'_>> = after
        .iter()
        .zip(&before)
        .map(|(ours, theirs)| {
            assert_eq!((&ours.item_id, &ours.expected), (&theirs.item_id, &theirs.expected));
            Pair { ours: right(ours), theirs: right(theirs), key: ours.descriptor_key.as_deref().unwrap() }
        })
        .collect();
    let known = paired::compare(&pairs, SEED).unwrap();
    assert_eq!(compared.all.rows, 800);
    near(compared.all.difference, known.difference);
    near(compared.all.p, known.p);
    assert_eq!(compared.all.by_merchant, known.keys, "`eval` prints what `eval compare` does");
    pairs.reverse();
    assert_eq!(paired::compare(&pairs, SEED).unwrap().keys, known.keys, "whatever the order of the rows");
    let only_ours = pairs.iter().filter(|pair| pair.ours && !pair.theirs).count();
    assert_eq!(compared.all.only_ours, only_ours);
    assert_eq!(compared.classes.iter().map(|class| class.only_ours).sum::<usize>(), only_ours);
    assert!(compared.classes.iter().all(|class| class.p_holm >= class.p));
    assert_eq!(compared.differing.len(), 200.min(only_ours + compared.all.only_theirs));
    let mut elsewhere = run("adapter", &after);
    elsewhere.file_sha256 = [8; 32];
    let elsewhere = store.insert_run(&elsewhere, &after).await.unwrap();
    let apart = tracker::pairing(&store, elsewhere, theirs).await.unwrap_err();
    assert!(matches!(apart, tracker::Error::Apart { .. }), "{apart}");
}

/// A million rows: `cargo test --test it a_million -- --ignored --nocapture` prints the time.
#[tokio::test]
#[ignore = "makes two million rows"]
async fn a_million_rows_are_figures_within_ten_seconds() {
    let (store, database) = fresh_store().await;
    let items = answered(1, 100, 0.9);
    let ids = [stored(&store, "enriched_prompt", &items[..0]).await, stored(&store, "adapter", &items[..0]).await];
    let pool = PgPool::connect(&database.url).await.unwrap();
    sqlx::query(
        "insert into eval_items (
            run_id, item_id, expected, predicted, confidence, known_key, descriptor_key, direction, amount, country,
            posted_at, account_age_days, head_merchant, alternatives, gold_rank, gold_probability, decided_by, latency_ms
        )
        select
            run, 'i' || n, 'category_' || gold, 'category_' || answer, sure, n % 10 <> 0, 'merchant ' || merchant,
            case when n % 5 = 0 then 'credit' else 'debit' end, (n % 5000)::numeric / 3,
            case when n % 7 = 0 then 'CA' else 'US' end, timestamptz '2024-01-01' + (n % 700) * interval '1 day', n % 1200,
            n % 3 = 0, '[{\"category\": \"category_1\", \"confidence\": 0.03}]', case when answer = gold then 1 end,
            case when answer = gold then sure else 0 end, 'adapter:made@00000000', 1 + (n % 9)::real / 10
        from unnest($1::bigint[]) as run, lateral (
            select
                n,
                n % 40000 as merchant,
                n % 40000 % 105 as gold,
                (n % 40000 + case when (hashint8(n + run) & 1023) < 960 then 0 else 7 end) % 105 as answer,
                (0.5 + (hashint8(n * 3 + run) & 65535)::double precision / 131072)::real as sure
            from generate_series(1, 1000000) as n
        ) as made",
    )
    .bind(ids.as_slice())
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("analyze eval_items").execute(&pool).await.unwrap();
    pool.close().await;

    let start = Instant::now();
    let measured = tracker::measured(&store, ids[1]).await.unwrap();
    let queried = start.elapsed();
    let report = measured.report().unwrap();
    let shown = start.elapsed();
    let compared = tracker::pairing(&store, ids[1], ids[0]).await.unwrap().compare().unwrap();
    let all = start.elapsed();
    eprintln!(
        "1,000,000 rows: figures and slices {:.1} s, with intervals by merchant {:.1} s; compared with another million in {:.1} s",
        queried.as_secs_f64(),
        shown.as_secs_f64(),
        (all - shown).as_secs_f64()
    );
    assert_eq!((report.figures.accuracy.n, compared.all.rows), (1_000_000, 1_000_000));
    assert!(shown.as_secs_f64() < 10.0 && (all - shown).as_secs_f64() < 10.0, "{shown:?} {all:?}");
}
