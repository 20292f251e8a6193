//! The label-error check: confident learning over out-of-fold probabilities, as a finding.

use super::{
    confident::{Confident, Prune},
    report::{Check, ClassLine, Flag, Level},
    rows::share,
    set::LabelledSet,
};
use crate::model::folds;

/// A category with fewer labels than this has no reliable threshold: what is said of it is said with that.
pub const RARE: usize = 30;
/// From this share of labels called wrong on, nothing should be trained on the set.
const MOST_CALLED: f64 = 0.2;
/// Where the folds' models agree with fewer labels than this, they know too little of the merchants:
/// what the joint says of noise is then an upper bound.
const GOOD_MODEL: f64 = 0.8;

/// Out-of-fold probabilities of a set's rows, and what they say of its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// One row for each example, one column for each category.
    pub probabilities: Vec<Vec<f32>>,
    /// What they say.
    pub confident: Confident,
    /// Labels of each category.
    pub of_class: Vec<usize>,
}

impl Opinion {
    /// Trains a model for each fold. The same set, folds and seed give the same opinion.
    #[must_use]
    pub fn of(set: &LabelledSet, folds: usize, seed: u64) -> Self {
        let probabilities = folds::out_of_fold(&set.labelled(), set.aids(), set.classes(), folds, seed);
        Self::from(set, probabilities)
    }

    /// From probabilities that are there already.
    #[must_use]
    pub fn from(set: &LabelledSet, probabilities: Vec<Vec<f32>>) -> Self {
        let labels: Vec<usize> = set.examples.iter().map(|example| example.class).collect();
        let confident = Confident::of(&probabilities, &labels, set.classes());
        let mut of_class = vec![0; set.classes()];
        labels.iter().for_each(|label| of_class[*label] += 1);
        Self { probabilities, confident, of_class }
    }

    /// Places of the examples whose label is probably wrong, most suspect first.
    #[must_use]
    pub fn suspects(&self, prune: Prune) -> Vec<usize> {
        let mut places: Vec<usize> =
            (0..self.probabilities.len()).filter(|&place| self.confident.suspects(place, prune)).collect();
        let margin = &self.confident.margin;
        places.sort_by(|&a, &b| margin[a].total_cmp(&margin[b]).then(a.cmp(&b)));
        places
    }

    /// Every category with its labels and what is probably wrong with them.
    #[must_use]
    pub fn classes(&self, set: &LabelledSet, prune: Prune) -> Vec<ClassLine> {
        let suspects = self.suspects(prune);
        (0..set.classes())
            .map(|class| ClassLine {
                category: set.slug(class).to_string(),
                rows: self.of_class[class],
                suspects: suspects.iter().filter(|&&place| set.examples[place].class == class).count(),
                noise: self.confident.noise(class).filter(|_| self.of_class[class] >= RARE),
            })
            .collect()
    }
}

/// `label_errors`: rows whose label is probably wrong. They are kept out of what passes, but for those
/// of rare categories, where the estimate is unreliable.
#[must_use]
pub fn label_errors(set: &LabelledSet, opinion: &Opinion, prune: Prune) -> Check {
    let confident = &opinion.confident;
    let flags: Vec<Flag> = opinion
        .suspects(prune)
        .into_iter()
        .map(|place| {
            let (class, best) = (set.examples[place].class, confident.best[place]);
            let rare = opinion.of_class[class] < RARE;
            let says = format!(
                "{} has probability {:.2}, {} {:.2}{}",
                set.slug(class),
                confident.self_confidence[place],
                set.slug(best),
                opinion.probabilities[place][best],
                if rare { "; unreliable, the category is rare" } else { "" }
            );
            let flag = Flag::of(set, place, says);
            if rare { flag } else { flag.quarantine() }
        })
        .collect();
    let rare = opinion.of_class.iter().filter(|count| (1..RARE).contains(*count)).count();
    let noise = confident.noise_of_all();
    let agree = (0..set.examples.len()).filter(|&place| confident.best[place] == set.examples[place].class).count();
    let agreement = share(agree, set.examples.len());
    let level = match flags.len() {
        0 => Level::Pass,
        called if share(called, set.examples.len()) >= MOST_CALLED => Level::Block,
        _ => Level::Warn,
    };
    let unreliable = if rare > 0 {
        format!("; unreliable for {rare} categories with fewer than {RARE} labels")
    } else {
        String::new()
    };
    let bound = if agreement < GOOD_MODEL { "at most " } else { "" };
    let says = format!(
        "{} labels are probably wrong (by {}), estimated noise {bound}{:.1} %; models that did not see a label agree \
         with {:.1} %{unreliable}",
        flags.len(),
        prune.as_str(),
        100.0 * noise,
        100.0 * agreement
    );
    Check::new("label_errors", level, says)
        .value("called", share(flags.len(), set.examples.len()))
        .value("estimated_noise", noise)
        .value("out_of_fold_agreement", agreement)
        .value("rare_classes", rare as f64)
        .flags(flags)
}
