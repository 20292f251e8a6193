//! Whether what a run would change is fit to be applied: not too much, no category that collapses, not for the worse.

use std::fmt;

use serde::Serialize;

use super::{Category, Diff};
use crate::domain::Slug;

/// Categories of fewer rows may collapse: a handful of rows says nothing.
const LEAST_ROWS: u64 = 100;

/// How much a run may change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Guards {
    /// The largest share of the scope that may change, in `[0, 1]`.
    pub max_changed: f64,
    /// The largest share of its rows that a category of 100 rows or more may lose, in `[0, 1]`.
    pub max_category_loss: f64,
}

impl Default for Guards {
    fn default() -> Self {
        Self { max_changed: 0.2, max_category_loss: 0.5 }
    }
}

/// Why a run should not be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Too much would change.
    Changed {
        /// Share of the scope that would.
        share: f64,
        /// The share that may.
        most: f64,
    },
    /// A category would lose too many of its rows.
    Collapse {
        /// Which.
        category: Slug,
        /// Rows now.
        before: u64,
        /// Rows after.
        after: u64,
        /// The share it may lose.
        most: f64,
    },
    /// A category is split, and no row would get one of the targets.
    Empty {
        /// Which category.
        category: Slug,
        /// Its rows.
        rows: u64,
        /// The target.
        target: Slug,
    },
    /// People's labels say that answers get worse, and it can't be chance.
    Worse {
        /// Labels.
        rows: u64,
        /// After minus before.
        difference: f64,
        /// The upper end of its 95 % interval.
        high: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { share, most } => {
                write!(f, "{:.1} % of the scope would change, of {:.1} % that may", 100.0 * share, 100.0 * most)
            }
            Self::Collapse { category, before, after, most } => write!(
                f,
                "`{category}` would fall from {before} to {after} rows, and may lose {:.0} % of them",
                100.0 * most
            ),
            Self::Empty { category, rows, target } => {
                write!(f, "`{category}` is split, and none of its {rows} rows would become `{target}`")
            }
            Self::Worse { rows, difference, high } => write!(
                f,
                "by {rows} labels accuracy would change by {:.1} points, and by {:.1} at best",
                100.0 * difference,
                100.0 * high
            ),
        }
    }
}

impl Guards {
    /// All that speaks against applying it.
    #[must_use]
    pub fn look_at(&self, diff: &Diff) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        // What a mapping renames, somebody wrote down: what stages choose is what may surprise.
        let share = (diff.changed - diff.renamed.unwrap_or(0)) as f64 / (diff.rows.max(1)) as f64;
        if share > self.max_changed {
            refusals.push(Refusal::Changed { share, most: self.max_changed });
        }
        let of_size = |of: &&Category| of.before >= LEAST_ROWS;
        for of in diff.categories.iter().filter(of_size).filter(|_| diff.renamed.is_some()) {
            for pair in diff.pairs.iter().filter(|pair| pair.from == of.category && pair.rows == 0) {
                let (category, target) = (of.category.clone(), pair.to.clone());
                refusals.push(Refusal::Empty { category, rows: of.before, target });
            }
        }
        for of in diff.categories.iter().filter(of_size).filter(|_| diff.renamed.is_none()) {
            let lost = of.before.saturating_sub(of.after) as f64 / of.before as f64;
            if lost > self.max_category_loss {
                let (category, most) = (of.category.clone(), self.max_category_loss);
                refusals.push(Refusal::Collapse { category, before: of.before, after: of.after, most });
            }
        }
        // Labels that nobody chose speak first: those that people chose flatter every change.
        let worse = [diff.at_random, diff.accuracy].into_iter().flatten().find(|of| of.difference.high < 0.0);
        refusals.extend(worse.map(|of| Refusal::Worse {
            rows: of.rows,
            difference: of.difference.value,
            high: of.difference.high,
        }));
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recategorize::diff::{Accuracy, Pair, Span};

    fn diff(rows: u64, changed: u64, before: u64, after: u64) -> Diff {
        Diff {
            rows,
            changed,
            renamed: None,
            people: 0,
            rules: 0,
            failed: 0,
            accounts: 1,
            money: Vec::new(),
            pairs: Vec::new(),
            categories: vec![Category { category: "cafes".parse().unwrap(), before, after }],
            accuracy: None,
            labels_seen: 0,
            at_random: None,
            samples: Vec::new(),
        }
    }

    #[test]
    fn a_fifth_may_change_and_no_more() {
        assert_eq!(Guards::default().look_at(&diff(1_000, 200, 99, 0)), []);
        let refused = Guards::default().look_at(&diff(1_000, 201, 99, 0));
        assert_eq!(refused, [Refusal::Changed { share: 0.201, most: 0.2 }]);
        assert_eq!(Guards::default().look_at(&diff(0, 0, 0, 0)), []);
    }

    #[test]
    fn a_category_may_lose_half_its_rows_unless_it_is_small() {
        assert_eq!(Guards::default().look_at(&diff(1_000, 0, 100, 50)), []);
        let refused = Guards::default().look_at(&diff(1_000, 0, 100, 49));
        assert!(matches!(refused[..], [Refusal::Collapse { before: 100, after: 49, .. }]), "{refused:?}");
    }

    #[test]
    fn what_a_mapping_renames_is_no_surprise_and_a_target_that_stays_empty_is() {
        let slug = |text: &str| text.parse::<Slug>().unwrap();
        let renamed = Diff { renamed: Some(900), ..diff(1_000, 1_000, 900, 0) };
        assert_eq!(Guards::default().look_at(&renamed), []);
        let pairs = vec![Pair { from: slug("cafes"), to: slug("bars"), rows: 0 }];
        let refused = Guards::default().look_at(&Diff { pairs, ..renamed });
        assert_eq!(refused[0].to_string(), "`cafes` is split, and none of its 900 rows would become `bars`");
    }

    #[test]
    fn accuracy_may_not_fall_clearly() {
        let span = |value, low, high| Span { value, low, high };
        let accuracy = |difference| Accuracy {
            rows: 50,
            before: span(0.9, 0.8, 0.95),
            after: span(0.8, 0.7, 0.9),
            difference,
            p: 0.01,
        };
        let perhaps = Diff { accuracy: Some(accuracy(span(-0.1, -0.2, 0.01))), ..diff(10, 0, 0, 0) };
        assert_eq!(Guards::default().look_at(&perhaps), []);
        let surely = Diff { at_random: Some(accuracy(span(-0.1, -0.2, -0.01))), ..diff(10, 0, 0, 0) };
        let refused = Guards::default().look_at(&surely);
        assert_eq!(refused[0].to_string(), "by 50 labels accuracy would change by -10.0 points, and by -1.0 at best");
    }
}
