//! Selection on a few generated merchants.

use chrono::{DateTime, Duration};
use proptest::prelude::*;

use super::*;
use crate::{curate::offers::offers, domain::DescriptorKey, evaluate::labels::Candidate};

/// One candidate for each `(key, store)`, a day after the one before.
fn candidates(rows: &[(u8, u8)]) -> Vec<Candidate> {
    rows.iter()
        .enumerate()
        .map(|(at, (key, store))| Candidate {
            id: format!("row-{at}").parse().unwrap(),
            descriptor: format!("MERCHANT {key} #{store}").into(),
            key: DescriptorKey::from_stored(&format!("merchant {key}")),
            posted_at: DateTime::UNIX_EPOCH + Duration::days(at as i64),
        })
        .collect()
}

/// Rows of merchants 0, 1, 2 …: ten, nine, eight … of them, each merchant with one text.
fn heavy_first() -> Vec<(u8, u8)> {
    (0..8_u8).flat_map(|key| (0..10 - key).map(move |_| (key, 0))).collect()
}

fn unit(angle: f32) -> Vec<f32> {
    vec![angle.cos(), angle.sin()]
}

fn sure(answer: usize) -> Opinion {
    Opinion { confidence: 0.99, answer, others: vec![answer; 3] }
}

fn picked_keys(rows: &[(u8, u8)], picks: &[Pick]) -> Vec<u8> {
    picks.iter().map(|pick| rows[pick.row].0).collect()
}

#[test]
fn from_nothing_the_merchants_with_most_traffic_come_first_and_each_once() {
    let rows = heavy_first();
    let candidates = candidates(&rows);
    let market = Market::new(&candidates);
    let open = offers(&market, &Covered::default(), |_| true);
    let picks = select(&open, Evidence::default(), 4);
    assert_eq!(picked_keys(&rows, &picks), [0, 1, 2, 3]);
    assert!(picks.iter().all(|pick| pick.reasons == [Reason::Coverage]));
    let summary = summary(&market, &Covered::default(), &open, &picks);
    assert_eq!((summary.picked, summary.new_merchants, summary.covered_before), (4, 4, 0.0));
    assert!((summary.covered_after - 34.0 / 52.0).abs() < 1e-9, "{summary:?}");
}

#[test]
fn a_share_goes_to_merchants_unlike_those_that_have_a_label() {
    let rows: Vec<(u8, u8)> = (0..40).map(|key| (key, 0)).collect();
    let candidates = candidates(&rows);
    let market = Market::new(&candidates);
    let open = offers(&market, &Covered::default(), |_| true);
    // All merchants point the same way but one, which has least traffic: it is the oldest.
    let vectors: Vec<Vec<f32>> =
        open.iter().map(|offer| unit(if rows[offer.row].0 == 0 { 1.5 } else { 0.0 })).collect();
    let chosen = |vectors: &[Vec<f32>]| select(&open, Evidence { vectors, ..Evidence::default() }, 20);
    let picks = chosen(&vectors);
    let odd = picks.iter().find(|pick| rows[pick.row].0 == 0);
    assert_eq!(odd.map(|pick| pick.reasons.as_slice()), None, "beyond those of most worth it isn't looked for");
    let vectors: Vec<Vec<f32>> =
        open.iter().map(|offer| unit(if rows[offer.row].0 == 18 { 1.5 } else { 0.0 })).collect();
    let odd = chosen(&vectors).into_iter().find(|pick| rows[pick.row].0 == 18).unwrap();
    assert_eq!(odd.reasons, [Reason::Diverse]);
    assert!(!picked_keys(&rows, &chosen(&[])).contains(&18), "without vectors nobody knows that it is unlike");
}

#[test]
fn with_opinions_a_doubtful_known_merchant_goes_before_a_sure_one_of_more_traffic() {
    // Two known merchants with two texts each, one of them labelled; merchant 0 has more traffic.
    let rows: Vec<(u8, u8)> = [(0, 0), (0, 1), (0, 1), (0, 1), (1, 0), (1, 1)].into();
    let candidates = candidates(&rows);
    let market = Market::new(&candidates);
    let covered = Covered::by([&candidates[0], &candidates[4]]);
    let open = offers(&market, &covered, |_| true);
    assert_eq!(open.len(), 2, "what has a label is not offered again");
    let opinions: Vec<Opinion> = open
        .iter()
        .map(|offer| match rows[offer.row].0 {
            0 => sure(2),
            _ => Opinion { confidence: 0.4, answer: 2, others: vec![1, 1, 2] },
        })
        .collect();
    let first = |opinions: &[Opinion]| select(&open, Evidence { opinions, ..Evidence::default() }, 1).remove(0);
    assert_eq!(rows[first(&[]).row].0, 0, "by traffic alone");
    let pick = first(&opinions);
    assert_eq!((rows[pick.row].0, pick.reasons), (1, vec![Reason::Uncertain, Reason::Disagreement]));
}

#[test]
fn a_merchant_labelled_long_ago_is_offered_again_and_a_row_that_may_not_be_bought_is_not() {
    let rows = heavy_first();
    let candidates = candidates(&rows);
    let market = Market::new(&candidates);
    let covered = Covered::default().with_keys([&candidates[0].key]);
    let open = offers(&market, &covered, |row| rows[row].0 < 2);
    let known: Vec<(u8, bool)> = open.iter().map(|offer| (rows[offer.row].0, offer.known)).collect();
    assert_eq!(known, [(0, true), (1, false)]);
    assert_eq!(picked_keys(&rows, &select(&open, Evidence::default(), 1)), [1], "a first label is worth more");
}

proptest! {
    #[test]
    fn no_row_is_picked_twice_and_the_budget_is_spent_while_there_are_offers(
        rows in prop::collection::vec((0..30_u8, 0..4_u8), 1..150), budget in 0..120_usize, opinionated in any::<bool>(),
    ) {
        let candidates = candidates(&rows);
        let market = Market::new(&candidates);
        let open = offers(&market, &Covered::default(), |_| true);
        let vectors: Vec<Vec<f32>> = open.iter().map(|offer| unit(f32::from(rows[offer.row].0))).collect();
        let opinions: Vec<Opinion> = if opinionated { open.iter().map(|_| sure(0)).collect() } else { vec![] };
        let evidence = Evidence { vectors: &vectors, labelled: &[], opinions: &opinions };
        let picks = select(&open, evidence, budget);
        let distinct: HashSet<usize> = picks.iter().map(|pick| pick.row).collect();
        prop_assert_eq!(distinct.len(), picks.len());
        prop_assert_eq!(picks.len(), budget.min(open.len()));
        prop_assert!(picks.iter().all(|pick| !pick.reasons.is_empty() && pick.doubt >= 0.0 && pick.doubt <= 1.0));
        prop_assert_eq!(select(&open, evidence, budget), picks);
    }
}
