//! Category by category: what is taken for what, precision, recall and F1.

use std::collections::BTreeMap;

use super::{Scored, Share, wilson};

/// How many rows of each category got which answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confusion {
    cells: BTreeMap<(usize, usize), usize>,
}

/// One category's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassCount {
    /// Which category.
    pub class: usize,
    /// Rows that are of it.
    pub support: usize,
    /// Rows that were said to be of it.
    pub answered: usize,
    /// Rows that are and were said to be.
    pub right: usize,
}

impl ClassCount {
    /// Share of the answers that are right; `None` where it was never answered.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.right as f64 / self.answered as f64)
    }

    /// Share of its rows that were found; `None` where it has none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.support > 0).then(|| self.right as f64 / self.support as f64)
    }

    /// Harmonic mean of the two; 0 where nothing is right.
    #[must_use]
    pub fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.support + self.answered) as f64
    }
}

/// Rows of a category that got an answer: one cell of a confusion matrix.
impl FromIterator<(usize, usize, usize)> for Confusion {
    fn from_iter<I: IntoIterator<Item = (usize, usize, usize)>>(cells: I) -> Self {
        let mut confusion = Self::default();
        for (gold, answer, rows) in cells {
            *confusion.cells.entry((gold, answer)).or_default() += rows;
        }
        confusion
    }
}

impl Confusion {
    /// Counts rows.
    #[must_use]
    pub fn of(rows: &[Scored]) -> Self {
        rows.iter().map(|row| (row.gold, row.answer, 1)).collect()
    }

    /// Rows in all.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.cells.values().sum()
    }

    /// The categories that occur as truth or as answer.
    #[must_use]
    pub fn classes(&self) -> Vec<ClassCount> {
        let mut all: BTreeMap<usize, ClassCount> = BTreeMap::new();
        let none = |class| ClassCount { class, support: 0, answered: 0, right: 0 };
        for (&(gold, answer), rows) in &self.cells {
            all.entry(answer).or_insert_with(|| none(answer)).answered += rows;
            let truth = all.entry(gold).or_insert_with(|| none(gold));
            truth.support += rows;
            truth.right += if gold == answer { *rows } else { 0 };
        }
        all.into_values().collect()
    }

    /// Mean of the F1 scores of [`Self::classes`] (scikit-learn's `f1_score(average="macro")`); 0 of nothing.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let classes = self.classes();
        classes.iter().map(ClassCount::f1).sum::<f64>() / classes.len().max(1) as f64
    }

    /// The same, each category weighted by its rows (`average="weighted"`).
    #[must_use]
    pub fn weighted_f1(&self) -> f64 {
        let weighted: f64 = self.classes().iter().map(|class| class.support as f64 * class.f1()).sum();
        weighted / self.rows().max(1) as f64
    }

    /// Share of the rows whose primary category is right, where `primary` has each category's: answering one detail of
    /// it for another is no mistake here. What is beyond `primary` (no answer) is never right.
    #[must_use]
    pub fn primary_accuracy(&self, primary: &[usize]) -> Option<Share> {
        let hit =
            |gold: usize, answer: usize| primary.get(answer).is_some_and(|answer| primary.get(gold) == Some(answer));
        let hits = self.cells.iter().filter(|((gold, answer), _)| hit(*gold, *answer)).map(|(_, rows)| rows).sum();
        wilson(hits, self.rows())
    }

    /// What is taken for what: category, answer, rows; the most frequent first.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(usize, usize, usize)> {
        let wrong = self.cells.iter().filter(|((gold, answer), _)| gold != answer);
        let mut mistakes: Vec<_> = wrong.map(|(&(gold, answer), &rows)| (gold, answer, rows)).collect();
        mistakes.sort_by_key(|&(gold, answer, rows)| (std::cmp::Reverse(rows), gold, answer));
        mistakes
    }
}

/// [`Confusion::macro_f1`] of rows.
#[must_use]
pub fn macro_f1(rows: &[Scored]) -> f64 {
    Confusion::of(rows).macro_f1()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(pairs: &[(usize, usize)]) -> Confusion {
        pairs.iter().map(|&(gold, answer)| (gold, answer, 1)).collect()
    }

    #[test]
    fn f1_agrees_with_scikit_learn() {
        // f1_score([0, 0, 0, 1, 2], [0, 0, 1, 1, 0], average="macro"), then "weighted"
        let found = confusion(&[(0, 0), (0, 0), (0, 1), (1, 1), (2, 0)]);
        assert!((found.macro_f1() - 4.0 / 9.0).abs() < 1e-12, "{}", found.macro_f1());
        assert!((found.weighted_f1() - 8.0 / 15.0).abs() < 1e-12, "{}", found.weighted_f1());
        let [first, _, third] = found.classes()[..] else { panic!("three categories occur") };
        assert_eq!(first, ClassCount { class: 0, support: 3, answered: 3, right: 2 });
        assert!(first.precision() == Some(2.0 / 3.0) && first.recall() == Some(2.0 / 3.0));
        assert!(third.precision().is_none() && third.recall() == Some(0.0) && third.f1() == 0.0);
        assert_eq!(found.mistakes(), [(0, 1, 1), (2, 0, 1)]);
        assert_eq!(Confusion::default().macro_f1(), 0.0);
    }

    #[test]
    fn a_detail_of_the_same_primary_is_right_in_the_primary_and_no_answer_is_not() {
        let found = confusion(&[(0, 1), (1, 1), (2, 0), (2, 3)]);
        let share = found.primary_accuracy(&[7, 7, 8]).unwrap();
        assert_eq!((share.n, share.share), (4, 0.5));
        assert_eq!(Confusion::default().primary_accuracy(&[]), None);
    }
}
