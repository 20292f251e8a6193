//! The closed set of answers as a tree of tokens, so that what several begin with is read once.

use std::collections::{BTreeSet, HashMap};

use super::transformer::Tree;

/// Answers below the token that all of them follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trie {
    /// Every token that something follows; the first is the one before all answers.
    pub(super) tree: Tree,
    /// For each answer the places of `tree` on its way, each with the token that follows there.
    pub(super) ways: Vec<Vec<(usize, u32)>>,
}

impl Trie {
    /// `None` where two answers are the same tokens, or one is none at all.
    pub(super) fn new(root: u32, answers: &[Vec<u32>]) -> Option<Self> {
        let different: BTreeSet<&Vec<u32>> = answers.iter().collect();
        if different.len() < answers.len() || answers.iter().any(Vec::is_empty) {
            return None;
        }
        let mut tree = Tree { tokens: vec![root], parents: vec![None] };
        let mut below: HashMap<(usize, u32), usize> = HashMap::new();
        let mut way = |answer: &Vec<u32>| {
            let mut at = 0;
            let mut way = Vec::with_capacity(answer.len());
            for (place, &token) in answer.iter().enumerate() {
                way.push((at, token));
                // Nothing is asked of what follows the last token, so it is not read.
                if place + 1 < answer.len() {
                    at = *below.entry((at, token)).or_insert_with(|| {
                        tree.tokens.push(token);
                        tree.parents.push(Some(at));
                        tree.tokens.len() - 1
                    });
                }
            }
            way
        };
        let ways = answers.iter().map(&mut way).collect();
        Some(Self { tree, ways })
    }

    /// The most tokens that stand one after the other.
    pub(super) fn depth(&self) -> usize {
        self.ways.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The logarithm of each answer's probability, from what each place says of the next token.
    pub(super) fn scores(&self, logits: &[Vec<f32>]) -> Vec<f64> {
        let totals: Vec<f64> = logits.iter().map(|logits| log_sum_exp(logits.iter().copied().map(f64::from))).collect();
        let step = |&(at, token): &(usize, u32)| f64::from(logits[at][token as usize]) - totals[at];
        self.ways.iter().map(|way| way.iter().map(step).sum()).collect()
    }
}

/// Shares of one, from logarithms.
pub(super) fn shares(scores: &[f64]) -> Vec<f64> {
    let total = log_sum_exp(scores.iter().copied());
    scores.iter().map(|score| (score - total).exp()).collect()
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    most + values.map(|value| (value - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_share_stands_once_and_their_last_tokens_not_at_all() {
        let trie = Trie::new(9, &[vec![1, 2, 7], vec![1, 2, 3, 7], vec![4, 7]]).unwrap();
        assert_eq!(trie.tree.tokens, [9, 1, 2, 3, 4]);
        assert_eq!(trie.tree.parents, [None, Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(trie.ways[1], [(0, 1), (1, 2), (2, 3), (3, 7)]);
        assert_eq!(trie.depth(), 4);
        assert_eq!(Trie::new(9, &[vec![1], vec![1]]), None);
        assert_eq!(Trie::new(9, &[vec![]]), None);
    }

    #[test]
    fn a_score_is_the_sum_of_its_steps_and_shares_make_one() {
        let trie = Trie::new(0, &[vec![0, 1], vec![1]]).unwrap();
        let half = 0.0;
        let scores = trie.scores(&[vec![half, half], vec![3f32.ln(), 1f32.ln()]]);
        assert!((scores[0].exp() - 0.125).abs() < 1e-6 && (scores[1].exp() - 0.5).abs() < 1e-6, "{scores:?}");
        let shares = shares(&scores);
        assert!((shares[0] - 0.2).abs() < 1e-6 && (shares[1] - 0.8).abs() < 1e-6);
    }
}
