//! The fold over an account's earlier rows, and the text that is rendered from it.

use chrono::{DateTime, Duration, Utc};
use rust_decimal::Decimal;
use txcat::domain::{
    Descriptor, Direction, EnrichedTransaction, Enrichment, HistoryEntry, Merchant, MerchantMatch, Money, Transaction,
    UserHistory,
    enrichment::{HISTORY_WINDOW, KnownLabel},
    merchant::MatchKind,
};

fn day(days: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(days)
}

fn money(cents: i64) -> Money {
    Money::new(Decimal::new(cents, 2), "CAD".parse().unwrap()).unwrap()
}

fn entry(descriptor: &str, days: i64, cents: i64) -> HistoryEntry {
    HistoryEntry {
        posted_at: day(days),
        key: Descriptor::parse(descriptor).unwrap().key().clone(),
        amount: money(cents),
        direction: Direction::Debit,
        label: None,
    }
}

fn labelled(entry: HistoryEntry, category: &str, known_at: i64) -> HistoryEntry {
    let label = KnownLabel { category: category.parse().unwrap(), known_at: day(known_at) };
    HistoryEntry { label: Some(label), ..entry }
}

fn at(descriptor: &str, days: i64) -> Transaction {
    Transaction::posted(
        "t".parse().unwrap(),
        "a".parse().unwrap(),
        day(days),
        money(1299),
        Direction::Debit,
        Descriptor::parse(descriptor).unwrap(),
    )
}

#[test]
fn nothing_earlier_gives_an_empty_history() {
    assert_eq!(UserHistory::fold([], &at("GYM 12", 10)), UserHistory::default());
}

#[test]
fn only_the_last_rows_of_the_window_count() {
    let rows: Vec<_> = (0..300).map(|i| entry(if i < 100 { "OLD SHOP" } else { "NEW SHOP" }, i, 100)).collect();
    let history = UserHistory::fold(&rows, &at("NEW SHOP #4", 400));
    assert_eq!(history.transactions as usize, HISTORY_WINDOW);
    assert_eq!(history.keys.len(), 1, "the old shop is beyond the window");
    assert_eq!(history.same_key.count, 200);
}

#[test]
fn a_label_counts_from_the_day_it_was_known() {
    let rows = [
        labelled(entry("GYM", 1, 900), "gym_and_fitness", 1),
        labelled(entry("GYM", 2, 900), "childcare", 50),
        labelled(entry("BAKERY", 3, 300), "specialty_food", 10),
    ];
    let history = UserHistory::fold(&rows, &at("GYM", 10));
    assert_eq!(history.labels.len(), 2, "known on the very day counts, known later does not");
    assert_eq!(history.same_key.labels.len(), 1);
    assert_eq!(history.same_key.latest_label, Some("gym_and_fitness".parse().unwrap()));
    let later = UserHistory::fold(&rows, &at("GYM", 60));
    assert_eq!(later.same_key.latest_label, Some("childcare".parse().unwrap()));
}

#[test]
fn the_other_direction_and_rows_without_a_key_are_not_the_same_merchant() {
    let refund = HistoryEntry { direction: Direction::Credit, ..entry("GYM", 1, 900) };
    assert_eq!(UserHistory::fold(&[refund], &at("GYM", 10)).same_key.count, 0);
    let codes = UserHistory::fold(&[entry("#12345", 1, 900)], &at("#99999", 10));
    assert_eq!((codes.transactions, codes.keys.len(), codes.same_key.count), (1, 0, 0));
}

#[test]
fn a_monthly_bill_is_recurring_and_a_daily_coffee_is_not() {
    let bill: Vec<_> = [0, 30, 61, 91, 122].map(|d| entry("CITY POWER", d, 8000 + d)).into();
    let same = UserHistory::fold(&bill, &at("CITY POWER", 152)).same_key;
    assert_eq!((same.count, same.cadence_days, same.recurring), (5, Some(30.0), true));
    assert_eq!(same.typical_amount, Some(money(8061)));
    let coffee: Vec<_> = (0..9).map(|d| entry("BEAN BAR", d, 450)).collect();
    assert!(!UserHistory::fold(&coffee, &at("BEAN BAR", 9)).same_key.recurring);
    let shopping: Vec<_> = [0, 30, 61, 91].map(|d| entry("BIG STORE", d, 1000 * (d + 1))).into();
    assert!(!UserHistory::fold(&shopping, &at("BIG STORE", 120)).same_key.recurring, "amounts vary");
    assert_eq!(UserHistory::fold(&bill[..2], &at("CITY POWER", 152)).same_key.cadence_days, None);
}

#[test]
fn amounts_in_another_currency_are_not_typical() {
    let euro = Money::new(Decimal::new(500, 0), "EUR".parse().unwrap()).unwrap();
    let rows = [HistoryEntry { amount: euro, ..entry("GYM", 1, 1) }, entry("GYM", 2, 900)];
    assert_eq!(UserHistory::fold(&rows, &at("GYM", 10)).same_key.typical_amount, Some(money(900)));
}

#[test]
fn none_shows_text_amount_and_direction_and_full_adds_merchant_and_history() {
    let transaction = at("SQ *IRON GYM #12", 100);
    let bill: Vec<_> =
        [10, 40, 70].map(|d| labelled(entry("IRON GYM", d, 4999), "gym_and_fitness", d)).into_iter().collect();
    let history = UserHistory::fold(&bill, &transaction);
    let merchant = std::sync::Arc::new(Merchant {
        id: "iron".to_owned(),
        name: "Iron Gym".to_owned(),
        aliases: Vec::new(),
        kind: "leisure=fitness_centre".to_owned(),
        category: None,
        countries: Vec::new(),
        wikidata: None,
    });
    let found = MerchantMatch { merchant, matched: "iron gym".to_owned(), kind: MatchKind::Exact, score: 1.0 };
    let enriched = EnrichedTransaction { transaction, merchant: Some(found), history };
    assert_eq!(enriched.render(Enrichment::None), "iron gym, paid 13 cad");
    assert_eq!(
        enriched.render(Enrichment::Full),
        "iron gym, paid 13 cad; Iron Gym, fitness centre; 3 before, about 50 cad, recurring, gym and fitness; \
         account: gym and fitness"
    );
    assert!(enriched.render(Enrichment::Full).starts_with(&enriched.render(Enrichment::None)));
}
