//! Are there enough labels, and of every category?

use super::{
    report::{Check, Flag, Level},
    set::LabelledSet,
};

/// Labelled examples that fine-tuning is said to need: below `least` don't begin, from `good` on more
/// bring little.
struct Need {
    model: &'static str,
    least: usize,
    good: usize,
}

/// The published table, by what is fine-tuned. The ranges' lower ends.
const TABLE: [Need; 3] = [
    Need { model: "a managed model", least: 10, good: 50 },
    Need { model: "a 7B model", least: 100, good: 1_000 },
    Need { model: "a 13B to 70B model", least: 500, good: 5_000 },
];
/// Labels by experts from which on a decision between models can be based on them.
const DECISION: usize = 500;
/// A category with fewer labels than this is learned from single rows.
const FEWEST_OF_CLASS: usize = 10;
/// From this ratio of the largest to the median category on, the set is called imbalanced.
const IMBALANCED: f64 = 20.0;

/// `counts`: labels in all, and of each category, against the published table.
#[must_use]
pub fn counts(set: &LabelledSet) -> Check {
    let rows = set.examples.len();
    let mut of_class = vec![0; set.classes()];
    set.examples.iter().for_each(|example| of_class[example.class] += 1);
    let thin: Vec<usize> = (0..of_class.len()).filter(|&class| of_class[class] < FEWEST_OF_CLASS).collect();
    let reached: Vec<String> = TABLE
        .iter()
        .map(|need| {
            let word = match rows {
                rows if rows >= need.good => "recommended",
                rows if rows >= need.least => "minimum",
                _ => "too few",
            };
            let per_class = of_class.iter().filter(|count| **count >= need.least).count();
            format!("{} {word} ({per_class} of {} categories have {})", need.model, of_class.len(), need.least)
        })
        .collect();
    let level = match rows {
        rows if rows < TABLE[0].least => Level::Block,
        rows if rows < DECISION || !thin.is_empty() => Level::Warn,
        _ => Level::Pass,
    };
    let flags = thin.iter().map(|&class| Flag {
        id: String::new(),
        line: None,
        category: Some(set.slug(class).to_string()),
        says: format!("{} labels", of_class[class]),
        quarantined: false,
        place: None,
    });
    let says = format!(
        "{rows} labels for {}; {} of {} categories have fewer than {FEWEST_OF_CLASS}; for a decision there are {}",
        reached.join(", for "),
        thin.len(),
        of_class.len(),
        if rows < DECISION { "too few" } else { "enough" },
    );
    let check = Check::new("counts", level, says)
        .value("labels", rows as f64)
        .value("smallest_class", of_class.iter().min().copied().unwrap_or(0) as f64)
        .value("thin_classes", thin.len() as f64);
    Check { flags: flags.collect(), ..check }
}

/// `imbalance`: how much larger the largest category is than the middle one.
#[must_use]
pub fn imbalance(set: &LabelledSet) -> Check {
    let mut of_class = vec![0_usize; set.classes()];
    set.examples.iter().for_each(|example| of_class[example.class] += 1);
    of_class.sort_unstable();
    let largest = of_class.last().copied().unwrap_or(0);
    let middle = of_class.get(of_class.len() / 2).copied().unwrap_or(0).max(1);
    let ratio = largest as f64 / middle as f64;
    let all: usize = of_class.iter().sum();
    let entropy: f64 = of_class
        .iter()
        .filter(|count| **count > 0)
        .map(|&count| count as f64 / all as f64)
        .map(|share| -share * share.ln())
        .sum();
    let evenness = if of_class.len() > 1 { entropy / (of_class.len() as f64).ln() } else { 1.0 };
    let level = if ratio >= IMBALANCED { Level::Warn } else { Level::Pass };
    let says =
        format!("the largest category has {ratio:.1} times the rows of the middle one; evenness {evenness:.2} of 1");
    Check::new("imbalance", level, says).value("largest_to_middle", ratio).value("evenness", evenness)
}
