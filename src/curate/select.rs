//! What to label next: the rows that are worth an expert's time.
//!
//! A label is worth the traffic it stands for times the chance that today's answer is wrong. The first
//! label of a merchant stands for all of its rows, a further one for its own statement text. From nothing
//! that is volume alone; once something was learned, what the stages say of a row tells the chance. A
//! twentieth of the budget goes to merchants that are least like any that has a label; a fifth was tried on
//! real rows, and cost a point. Pure: no label is looked at here, and vectors and opinions come from the caller.

use std::collections::{BinaryHeap, HashMap, HashSet};

use serde::Serialize;

use super::offers::{Covered, Offer};
use crate::{evaluate::market::Market, model::encoder::Vectors};

/// Share of the budget for merchants unlike those that have a label.
const DIVERSE_SHARE: f64 = 0.05;
/// Among so many times the diverse share, those of most worth, the unlike ones are looked for.
const DIVERSE_AMONG: usize = 4;
/// Chance that a merchant's further text has another label than its first, where no stage says more.
const RESIDUAL: f32 = 0.1;
/// An answer about an unknown merchant is doubted at least so much: a stage's confidence is least true there.
const UNKNOWN: f32 = 0.25;
/// What it adds to the doubt when all other stages say something else.
const SPLIT: f32 = 0.5;
/// From this doubt on, a reason is the stage's uncertainty.
const UNSURE: f32 = 0.4;

/// Vectors compared in one go: the table of cosines is held whole.
pub(super) const CHUNK: usize = 256;

/// Why a row was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its merchant has no label yet, and much traffic.
    Coverage,
    /// Its merchant is unlike all that have a label.
    Diverse,
    /// The answer in force is doubtful.
    Uncertain,
    /// The stages don't agree.
    Disagreement,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Coverage, Self::Diverse, Self::Uncertain, Self::Disagreement];

    /// Its name in tables and files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Diverse => "diverse",
            Self::Uncertain => "uncertain",
            Self::Disagreement => "disagreement",
        }
    }
}

/// What the stages say of one offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// Probability of the answer in force.
    pub confidence: f32,
    /// The answer in force, as a place in the taxonomy.
    pub answer: usize,
    /// The other stages' answers, of those that have one.
    pub others: Vec<usize>,
}

impl Opinion {
    /// Share of the other stages that say something else.
    fn split(&self) -> f32 {
        let differ = self.others.iter().filter(|other| **other != self.answer).count();
        differ as f32 / self.others.len().max(1) as f32
    }
}

/// What is known of the offers, beside their traffic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// A vector of unit length for each offer; without them no share goes to unlike merchants.
    pub vectors: &'a [Vec<f32>],
    /// The same of the rows that have a label.
    pub labelled: &'a [Vec<f32>],
    /// What the stages say of each offer; empty where nothing was learned yet.
    pub opinions: &'a [Opinion],
}

/// A row to label, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// The offer: a place among those that were given.
    pub offer: usize,
    /// The row: a place among the market's candidates.
    pub row: usize,
    /// Why, at least one.
    pub reasons: Vec<Reason>,
    /// Traffic that it stands for, recent rows counting more.
    pub traffic: f64,
    /// Chance that today's answer is wrong, as far as anybody can say.
    pub doubt: f32,
}

/// At most `budget` of the offers, in the order in which they should be labelled.
#[must_use]
pub fn select(offers: &[Offer], evidence: Evidence<'_>, budget: usize) -> Vec<Pick> {
    let mut shop = Shop { offers, evidence, picked: HashMap::new() };
    let diverse = if evidence.vectors.is_empty() { 0 } else { (budget as f64 * DIVERSE_SHARE) as usize };
    let mut picks = shop.by_worth(budget - diverse);
    picks.extend(shop.by_distance(diverse, &picks));
    // What nobody is unlike enough for goes to worth again.
    let left = budget - picks.len();
    picks.extend(shop.by_worth(left));
    picks
}

struct Shop<'a> {
    offers: &'a [Offer],
    evidence: Evidence<'a>,
    /// Picks so far of each merchant.
    picked: HashMap<usize, Vec<usize>>,
}

/// An offer in the queue; the most worth comes first, of equals the first offer.
#[derive(PartialEq)]
struct Queued(f64, usize);

impl Eq for Queued {}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Shop<'_> {
    fn taken(&self, at: usize) -> bool {
        self.picked.get(&self.offers[at].merchant).is_some_and(|picked| picked.contains(&at))
    }

    /// Whether this would be the merchant's first label.
    fn first(&self, at: usize) -> bool {
        !self.offers[at].known && !self.picked.contains_key(&self.offers[at].merchant)
    }

    /// Chance that today's answer is wrong, the picks so far known.
    fn doubt(&self, at: usize) -> f32 {
        let picked = self.picked.get(&self.offers[at].merchant).map_or(0, Vec::len);
        let told = self.evidence.opinions.get(at).map(|of| (1.0 - of.confidence).max(SPLIT * of.split()));
        let doubt = match told {
            Some(told) if self.offers[at].known => told,
            Some(told) => told.max(UNKNOWN),
            None if self.offers[at].known => RESIDUAL,
            None => 1.0,
        };
        if picked == 0 { doubt } else { doubt * RESIDUAL / picked as f32 }
    }

    fn traffic(&self, at: usize) -> f64 {
        if self.first(at) && self.offers[at].leads { self.offers[at].of_merchant } else { self.offers[at].of_text }
    }

    fn worth(&self, at: usize) -> f64 {
        self.traffic(at) * f64::from(self.doubt(at))
    }

    fn take(&mut self, at: usize, diverse: bool) -> Pick {
        let (first, doubt, traffic) = (self.first(at), self.doubt(at), self.traffic(at));
        let mut reasons = Vec::new();
        if diverse {
            reasons.push(Reason::Diverse);
        } else if first {
            reasons.push(Reason::Coverage);
        }
        if let Some(opinion) = self.evidence.opinions.get(at) {
            reasons.extend((1.0 - opinion.confidence >= UNSURE).then_some(Reason::Uncertain));
            reasons.extend((opinion.split() >= 0.5).then_some(Reason::Disagreement));
        }
        if reasons.is_empty() {
            // A further text of a merchant with much traffic, of which nothing but the residual doubt is known.
            reasons.push(Reason::Coverage);
        }
        self.picked.entry(self.offers[at].merchant).or_default().push(at);
        Pick { offer: at, row: self.offers[at].row, reasons, traffic, doubt }
    }

    /// Greedy by worth. Worth only falls as labels are picked, so that an offer whose worth is still what it was
    /// in the queue is the best.
    fn by_worth(&mut self, budget: usize) -> Vec<Pick> {
        let open = (0..self.offers.len()).filter(|&at| !self.taken(at));
        let mut queue: BinaryHeap<Queued> = open.map(|at| Queued(self.worth(at), at)).collect();
        let mut picks = Vec::with_capacity(budget.min(queue.len()));
        while picks.len() < budget
            && let Some(Queued(queued, at)) = queue.pop()
        {
            let now = self.worth(at);
            if now < queued {
                queue.push(Queued(now, at));
            } else {
                picks.push(self.take(at, false));
            }
        }
        picks
    }

    /// Greedy by worth times distance from the nearest labelled or picked merchant, among the unlabelled
    /// merchants of most worth.
    fn by_distance(&mut self, budget: usize, so_far: &[Pick]) -> Vec<Pick> {
        let mut among: Vec<usize> =
            (0..self.offers.len()).filter(|&at| self.offers[at].leads && self.first(at)).collect();
        among.sort_by(|&a, &b| self.worth(b).total_cmp(&self.worth(a)).then(a.cmp(&b)));
        among.truncate(budget * DIVERSE_AMONG);
        if among.is_empty() {
            return Vec::new();
        }
        let worths: Vec<f64> = among.iter().map(|&at| self.worth(at)).collect();
        let theirs: Vec<Vec<f32>> = among.iter().map(|&at| self.evidence.vectors[at].clone()).collect();
        let known: Vec<Vec<f32>> = self
            .evidence
            .labelled
            .iter()
            .cloned()
            .chain(so_far.iter().map(|pick| self.evidence.vectors[pick.offer].clone()))
            .collect();
        let mut nearest: Vec<f32> = Vec::with_capacity(theirs.len());
        let known = Vectors::new(&known);
        for some in theirs.chunks(CHUNK) {
            nearest.extend(known.similarities(some).into_iter().map(|row| row.into_iter().fold(0.0, f32::max)));
        }
        let theirs_side_by_side = Vectors::new(&theirs);
        let mut open = vec![true; among.len()];
        let mut picks = Vec::with_capacity(budget);
        while picks.len() < budget {
            let value = |place: usize| worths[place] * f64::from(1.0 - nearest[place]);
            let left = (0..among.len()).filter(|&place| open[place]);
            let Some(best) = left.max_by(|&a, &b| value(a).total_cmp(&value(b)).then(b.cmp(&a))) else { break };
            open[best] = false;
            picks.push(self.take(among[best], true));
            let like = theirs_side_by_side.similarities(std::slice::from_ref(&theirs[best]));
            for (nearest, like) in nearest.iter_mut().zip(like.iter().flatten()) {
                *nearest = nearest.max(*like);
            }
        }
        picks
    }
}

/// Picks for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReasonCount {
    /// The reason.
    pub reason: Reason,
    /// How many.
    pub picks: usize,
    /// Share of the rows whose merchant is among them.
    pub traffic: f64,
}

/// What a selection is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Rows picked.
    pub picked: usize,
    /// Of those, merchants that have a label for the first time.
    pub new_merchants: usize,
    /// For each reason. A pick may have several.
    pub reasons: Vec<ReasonCount>,
    /// Share of the rows whose merchant has a label, before.
    pub covered_before: f64,
    /// The same, once the picks are labelled.
    pub covered_after: f64,
}

/// Counts a selection. Traffic is counted in rows, each once.
#[must_use]
pub fn summary(market: &Market<'_>, covered: &Covered<'_>, offers: &[Offer], picks: &[Pick]) -> Summary {
    let all = market.candidates.len().max(1) as f64;
    let rows_of = |merchant: usize| market.merchants[merchant].units.iter().map(|unit| unit.rows).sum::<usize>();
    let before: HashSet<usize> =
        (0..market.merchants.len()).filter(|&merchant| covered.knows(market.merchants[merchant].key)).collect();
    let share = |merchants: &HashSet<usize>| merchants.iter().map(|&of| rows_of(of)).sum::<usize>() as f64 / all;
    let mut after = before.clone();
    after.extend(picks.iter().map(|pick| offers[pick.offer].merchant));
    let reasons = Reason::ALL.map(|reason| {
        let of: Vec<&Pick> = picks.iter().filter(|pick| pick.reasons.contains(&reason)).collect();
        let merchants: HashSet<usize> = of.iter().map(|pick| offers[pick.offer].merchant).collect();
        ReasonCount { reason, picks: of.len(), traffic: share(&merchants) }
    });
    Summary {
        picked: picks.len(),
        new_merchants: after.len() - before.len(),
        reasons: reasons.into(),
        covered_before: share(&before),
        covered_after: share(&after),
    }
}

#[cfg(test)]
mod tests;
