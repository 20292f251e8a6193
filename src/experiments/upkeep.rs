//! How few labels a quarter keep an adapter at its target as time passes, and whether a watch notices when it
//! isn't.
//!
//! A file of later rows is walked through quarter by quarter. Each quarter is scored whole by what was learned
//! before it; only then are a few of its rows bought, and they act from the next quarter on. A random audit of each
//! quarter is labelled too, for the [`Watch`] alone.
//!
//! Declared before any row of the file was scored: the encoder stays as it is (on dev, rows with a known key rest
//! on the wide part alone, so that is where labels act); known keys, wide part, fusion and thresholds are learned
//! anew from all labels, with dev as the rows to fit on; a new label weighs as much as a mean old one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use chrono::Datelike;
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::{
    Error,
    ground::{self, Ground},
    shown,
};
use crate::{
    curate::{
        offers::{Covered, offers},
        opinions,
        select::{self, Evidence},
    },
    domain::TransactionId,
    evaluate::{
        dataset::Row,
        drift::{Audit, Period, Reference},
        labels::Candidate,
        market::Market,
        metrics::{Scored, Share, accuracy},
        paired::{self, Difference, Pair},
        watch::{Verdict, Watch},
    },
    model::{
        AdapterInput, AdapterOutput, Labelled, argmax,
        sides::{Frozen, Sides},
    },
};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The file of later rows, such as `test_natural`.
    pub file: String,
    /// Labels bought of each quarter; 0 is no upkeep.
    pub budgets: Vec<usize>,
    /// Rows of each quarter that are audited.
    pub audit: usize,
    /// Accuracy that was promised.
    pub target: f64,
    /// Draws audits and seeds the resamples.
    pub seed: u64,
}

/// One quarter under one budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quarter {
    /// Such as `2019 Q1`.
    pub name: String,
    /// Right, before any of its labels was bought.
    pub accuracy: Option<Share>,
    /// Share of its rows with a key that labels had shown.
    pub known: f64,
    /// Labels bought of it to learn from.
    pub bought: usize,
    /// Rows of it that were audited.
    pub audited: usize,
    /// What the watch says.
    pub verdict: Verdict,
}

/// All quarters under one budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Labels a quarter.
    pub budget: usize,
    /// The quarters.
    pub quarters: Vec<Quarter>,
    /// Right in all of them together.
    pub accuracy: Option<Share>,
    /// Labels bought to learn from; those of the last quarter act on nothing and are not bought.
    pub bought: usize,
    /// Minus no upkeep, on the same rows.
    pub gain: Option<Difference>,
    #[serde(skip)]
    right: Vec<bool>,
}

/// What everything starts from.
pub struct Start<'a> {
    /// The data set.
    pub ground: &'a Ground,
    /// The adapter's folder.
    pub adapter: &'a Path,
    /// Rows of the pool that it learned from.
    pub bought: &'a BTreeSet<TransactionId>,
    /// A lexicon's terms, if it had one.
    pub terms: &'a [Labelled],
}

/// The file's rows, and what doesn't change with labels.
struct Walk<'a> {
    start: &'a Start<'a>,
    plan: &'a Plan,
    frozen: Frozen<'a>,
    /// The first labels.
    labelled: Vec<Labelled>,
    places: Vec<usize>,
    rows: Vec<Row>,
    candidates: Vec<Candidate>,
    inputs: Vec<AdapterInput>,
    classes: Vec<usize>,
    /// The encoder's, of each row.
    logits: Vec<Vec<f32>>,
    vectors: Vec<Vec<f32>>,
    known_vectors: Vec<Vec<f32>>,
    quarters: Vec<(String, Vec<usize>)>,
    reference: Reference,
    first: Sides,
}

/// Walks through the file under every budget.
///
/// # Errors
/// When the file, the pool or the adapter can't be read.
pub async fn run(start: &Start<'_>, plan: &Plan, say: impl Fn(&str) + Sync) -> Result<Vec<Course>, Error> {
    let walk = Walk::new(start, plan).await?;
    say(&format!("{} rows in {} quarters", walk.rows.len(), walk.quarters.len()));
    let mut courses: Vec<Course> = tokio::task::block_in_place(|| {
        plan.budgets
            .par_iter()
            .map(|&budget| {
                let course = walk.course(budget);
                say(&format!("{budget} labels a quarter: {}", shown(course.accuracy)));
                course
            })
            .collect()
    });
    let none = courses.iter().find(|course| course.budget == 0).map(|course| course.right.clone());
    for course in courses.iter_mut().filter(|course| course.budget > 0) {
        course.gain = none.as_ref().and_then(|none| {
            let pairs: Vec<Pair<'_>> = (0..walk.rows.len())
                .map(|at| Pair { ours: course.right[at], theirs: none[at], key: &walk.inputs[at].key })
                .collect();
            paired::compare(&pairs, plan.seed)
        });
    }
    Ok(courses)
}

impl<'a> Walk<'a> {
    async fn new(start: &'a Start<'a>, plan: &'a Plan) -> Result<Self, Error> {
        let ground = start.ground;
        let places = ground.pool.places(start.bought.iter());
        let labelled = ground.buy(&places)?;
        let dev: Vec<Labelled> = ground.fit.iter().chain(&ground.report).cloned().collect();
        let frozen = Frozen::read(start.adapter, &ground.base, dev.clone())?;
        let first = frozen.learn(labelled.clone(), start.terms, &ground.texts);
        let slug = |class: usize| ground.slug(class);
        let mut reference = Reference::default();
        let dev_inputs: Vec<AdapterInput> = dev.iter().map(|row| row.input.clone()).collect();
        for (row, logits) in dev.iter().zip(frozen.logits(&dev_inputs)?) {
            let answer = first.answer(&row.input, &logits);
            let (class, confidence) = best(&answer);
            reference.add(slug(class), confidence, answer.known.is_some(), class == row.class);
        }
        let mut rows: Vec<Row> = ground.dataset.rows(ground.dataset.file(&plan.file)?)?.collect::<Result<_, _>>()?;
        rows.sort_by(|a, b| {
            let place = |row: &Row| (row.transaction.posted_at, row.transaction.id.clone());
            place(a).cmp(&place(b))
        });
        let mut timelines = ground.pool.timelines.clone();
        timelines.extend(rows.iter().map(|row| (&row.transaction, None)));
        let inputs: Vec<AdapterInput> = rows.iter().map(|row| ground::input(&timelines, &row.transaction)).collect();
        let classes = rows.iter().map(|row| ground.class(row)).collect();
        let mut quarters: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let day = row.transaction.posted_at;
            quarters.entry(format!("{} Q{}", day.year(), day.month0() / 3 + 1)).or_default().push(at);
        }
        Ok(Self {
            logits: frozen.logits(&inputs)?,
            vectors: ground.embed(rows.iter().map(|row| &row.transaction)).await?,
            known_vectors: ground.vectors(places.iter().copied()),
            candidates: rows.iter().map(|row| Candidate::of(&row.transaction)).collect(),
            quarters: quarters.into_iter().collect(),
            start,
            plan,
            frozen,
            labelled,
            places,
            rows,
            inputs,
            classes,
            reference,
            first,
        })
    }

    fn course(&self, budget: usize) -> Course {
        let mut watch = Watch::new(self.plan.target, self.reference.clone());
        let mut learned: Vec<usize> = Vec::new();
        let mut renewed: Option<Sides> = None;
        let (mut quarters, mut right) = (Vec::new(), vec![false; self.rows.len()]);
        for (nth, (name, places)) in self.quarters.iter().enumerate() {
            let sides = renewed.as_ref().unwrap_or(&self.first);
            let answers: Vec<AdapterOutput> =
                places.par_iter().map(|&at| sides.answer(&self.inputs[at], &self.logits[at])).collect();
            let scored: Vec<Scored> =
                places.iter().zip(&answers).map(|(&at, answer)| self.scored(at, answer)).collect();
            places.iter().zip(&scored).for_each(|(&at, row)| right[at] = row.correct());
            let (period, audit, audited) = self.watched(nth, &scored);
            let verdict = watch.see(&period, &audit);
            let last = nth + 1 == self.quarters.len();
            let picked = if last { Vec::new() } else { self.picked(budget, places, &answers, &audited, &learned) };
            quarters.push(Quarter {
                name: name.clone(),
                accuracy: accuracy(&scored, |_| true),
                known: 1.0 - period.unknown_share(),
                bought: picked.len(),
                audited: audited.len(),
                verdict,
            });
            if !picked.is_empty() {
                learned.extend(picked);
                renewed = Some(self.frozen.learn(self.labels(&learned), self.start.terms, &self.start.ground.texts));
            }
        }
        let hits = right.iter().filter(|right| **right).count();
        Course {
            budget,
            bought: learned.len(),
            quarters,
            accuracy: crate::evaluate::metrics::wilson(hits, right.len()),
            gain: None,
            right,
        }
    }

    fn scored(&self, at: usize, answer: &AdapterOutput) -> Scored {
        let (class, confidence) = best(answer);
        let known = answer.known.is_some();
        Scored { gold: self.classes[at], answer: class, confidence, known, knows_key: known }
    }

    /// What the watch sees of a quarter, and which of its rows were audited: the same under every budget.
    fn watched(&self, quarter: usize, scored: &[Scored]) -> (Period, Audit, Vec<usize>) {
        let mut period = Period::default();
        for row in scored {
            period.add(self.start.ground.slug(row.answer), row.confidence, row.knows_key);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.plan.seed.wrapping_add(quarter as u64));
        let audited = index::sample(&mut rng, scored.len(), self.plan.audit.min(scored.len())).into_vec();
        let mut audit = Audit::default();
        audited.iter().for_each(|&at| audit.add(scored[at].correct(), scored[at].confidence));
        (period, audit, audited)
    }

    /// Rows of the quarter to buy: of its texts that had no label since the adapter was trained, and were not audited.
    fn picked(
        &self,
        budget: usize,
        places: &[usize],
        answers: &[AdapterOutput],
        audited: &[usize],
        learned: &[usize],
    ) -> Vec<usize> {
        let Some(&last) = places.iter().max() else { return Vec::new() };
        // Traffic since training: rows are in order of time, so that the newest row of a text is of this quarter.
        let market = Market::new(&self.candidates[..=last]);
        let pool = &self.start.ground.pool.candidates;
        let covered = Covered::by(learned.iter().map(|&at| &self.candidates[at]))
            .with_keys(self.places.iter().map(|&place| &pool[place].key));
        let audited: BTreeSet<usize> = audited.iter().map(|&at| places[at]).collect();
        let of_quarter: BTreeMap<usize, &AdapterOutput> = places.iter().copied().zip(answers).collect();
        let open = offers(&market, &covered, |row| of_quarter.contains_key(&row) && !audited.contains(&row));
        let asked: Vec<AdapterInput> = open.iter().map(|offer| self.inputs[offer.row].clone()).collect();
        let vectors: Vec<Vec<f32>> = open.iter().map(|offer| self.vectors[offer.row].clone()).collect();
        let labelled = self.labels(learned);
        let known: Vec<Vec<f32>> =
            self.known_vectors.iter().cloned().chain(learned.iter().map(|&at| self.vectors[at].clone())).collect();
        let answers: Vec<&AdapterOutput> = open.iter().map(|offer| of_quarter[&offer.row]).collect();
        let in_force: Vec<Vec<f32>> = answers.iter().map(|answer| answer.probabilities.clone()).collect();
        let others = [
            opinions::memory(&labelled, &asked),
            opinions::nearest(&labelled, &known, &vectors),
            answers.iter().map(|answer| Some(argmax(&answer.encoder_probabilities))).collect(),
        ];
        let opinions = opinions::opinions(&in_force, &others);
        let evidence = Evidence { vectors: &vectors, labelled: &known, opinions: &opinions };
        select::select(&open, evidence, budget).iter().map(|pick| pick.row).collect()
    }

    /// All labels by now: the first, then those bought since.
    fn labels(&self, learned: &[usize]) -> Vec<Labelled> {
        let new = |&at: &usize| Labelled { input: self.inputs[at].clone(), class: self.classes[at], weight: 1.0 };
        self.labelled.iter().cloned().chain(learned.iter().map(new)).collect()
    }
}

fn best(answer: &AdapterOutput) -> (usize, f32) {
    let class = argmax(&answer.probabilities);
    (class, answer.probabilities[class])
}
