//! Merchants and categories whose answers have moved: a few of their recent rows, drawn by lot, go before people.
//!
//! Nobody has to have complained and no label is needed: what an engine answered lately is held against what the same engine
//! answered before ([`Drift`]). The draw is bounded; what is moving anyway is not asked about again.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Error;
use crate::{
    domain::ReviewReason,
    evaluate::drift::{BINS, Drift, MOVED, Period, psi},
    store::{MovedAnswers, RecentAnswers, Store},
};

/// What counts as lately.
pub const LATELY: TimeDelta = TimeDelta::days(7);
/// What that is held against: so long before it.
pub const BEFORE: TimeDelta = TimeDelta::days(28);
/// Answers of each stretch that are looked at, the newest.
const MOST_ANSWERS: u32 = 100_000;
/// Fewest answers of a merchant or category, in each of the two, that tell anything.
const LEAST: u64 = 30;
/// Rows of each that people are asked about in so many days as count as lately.
pub const EACH: u32 = 10;
/// Merchants and categories that people are asked about at a time, those with most rows first.
const MOST_MOVED: usize = 10;

/// A merchant or category whose answers have moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// Which.
    pub what: MovedAnswers,
    /// How far: the greatest population stability index, chance taken off.
    pub index: f64,
    /// How many of its answers came lately.
    pub rows: u64,
    /// Rows that people are asked about now and were not before.
    pub asked: u64,
}

/// What an engine answered before and lately.
#[derive(Default)]
struct Both {
    before: Period,
    lately: Period,
}

/// Looks at an engine's answers, and asks people about some of those that have moved.
///
/// # Errors
/// When the database fails.
pub async fn look(store: &Store, engine: &str, now: DateTime<Utc>) -> Result<Vec<Moved>, Error> {
    let since = now - LATELY;
    let answers = store.recent_answers(engine, since - BEFORE, since, BINS as u32, MOST_ANSWERS).await?;
    let mut moved = moved(&answers);
    moved.sort_by(|a, b| b.rows.cmp(&a.rows).then(b.index.total_cmp(&a.index)));
    moved.truncate(MOST_MOVED);
    for one in &mut moved {
        let drawn = store.draw_moved(engine, &one.what, since, EACH).await?;
        one.asked = store.ask_people(&drawn, ReviewReason::Drift, now).await?;
    }
    Ok(moved)
}

/// What has moved.
fn moved(answers: &[RecentAnswers]) -> Vec<Moved> {
    let mut merchants: BTreeMap<&str, Both> = BTreeMap::new();
    let mut categories: BTreeMap<&str, Both> = BTreeMap::new();
    for answer in answers {
        add(categories.entry(&answer.category).or_default(), answer);
        if !answer.key.is_empty() {
            add(merchants.entry(&answer.key).or_default(), answer);
        }
    }
    let all = |of: fn(&Both) -> &Period| categories.values().map(|both| of(both).rows()).sum::<u64>();
    let (all_before, all_lately) = (all(|both| &both.before), all(|both| &both.lately));
    let enough = |both: &Both| both.before.rows() >= LEAST && both.lately.rows() >= LEAST;
    let of_merchants = merchants.iter().filter(|(_, both)| enough(both)).map(|(key, both)| {
        let drift = Drift::between(&both.before, &both.lately);
        (MovedAnswers::Merchant((*key).to_owned()), drift.classes.max(drift.confidence), both.lately.rows())
    });
    // A category that nobody had is news as well.
    let of_categories = categories.iter().filter(|(_, both)| both.lately.rows() >= LEAST).map(|(slug, both)| {
        let (then, now) = (both.before.rows(), both.lately.rows());
        let share = psi(&[then, all_before - then], &[now, all_lately - now]);
        let confidence = if enough(both) { Drift::between(&both.before, &both.lately).confidence } else { 0.0 };
        (MovedAnswers::Category((*slug).to_owned()), share.max(confidence), now)
    });
    of_merchants
        .chain(of_categories)
        .filter(|(_, index, _)| *index >= MOVED && all_before >= LEAST)
        .map(|(what, index, rows)| Moved { what, index, rows, asked: 0 })
        .collect()
}

fn add(both: &mut Both, answer: &RecentAnswers) {
    let period = if answer.lately { &mut both.lately } else { &mut both.before };
    let rows = u64::from(answer.rows);
    *period.classes.entry(answer.category.clone()).or_default() += rows;
    let bins = if answer.known { &mut period.known } else { &mut period.unknown };
    if let Some(bin) = bins.get_mut(answer.bin as usize) {
        *bin += rows;
    }
    period.confidence += answer.confidence;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(key: &str, category: &str, lately: bool, rows: u32, bin: u32) -> RecentAnswers {
        let confidence = f64::from(rows) * (f64::from(bin) + 0.5) / BINS as f64;
        RecentAnswers { key: key.to_owned(), category: category.to_owned(), known: true, bin, lately, rows, confidence }
    }

    fn names(answers: &[RecentAnswers]) -> Vec<String> {
        moved(answers)
            .into_iter()
            .map(|moved| match moved.what {
                MovedAnswers::Merchant(key) => format!("merchant {key}"),
                MovedAnswers::Category(slug) => format!("category {slug}"),
            })
            .collect()
    }

    #[test]
    fn what_stays_as_it_was_is_left_alone_and_what_moves_is_named() {
        let steady = |key, category| [answers(key, category, false, 400, 4), answers(key, category, true, 100, 4)];
        let quiet: Vec<_> = [steady("a", "food"), steady("b", "fuel")].concat();
        assert_eq!(names(&quiet), [""; 0]);
        let unsure =
            [quiet.clone(), vec![answers("c", "food", false, 100, 4), answers("c", "food", true, 60, 2)]].concat();
        assert!(names(&unsure).contains(&"merchant c".to_owned()), "an engine that has become unsure of a merchant");
        let other =
            [quiet.clone(), vec![answers("c", "food", false, 100, 4), answers("c", "fuel", true, 60, 4)]].concat();
        assert!(names(&other).contains(&"merchant c".to_owned()), "a merchant that is answered otherwise");
        let news = [quiet.clone(), vec![answers("d", "cash", true, 80, 4)]].concat();
        assert_eq!(names(&news), ["category cash"], "a category that came up");
        let few = [quiet, vec![answers("c", "food", false, 20, 4), answers("c", "fuel", true, 20, 4)]].concat();
        assert_eq!(names(&few), [""; 0], "a few rows tell nothing");
    }
}
