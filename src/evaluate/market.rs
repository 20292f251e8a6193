//! The rows whose labels could be bought, by merchant and statement text, with the traffic of each.

use std::collections::HashMap;

use super::labels::Candidate;
use crate::domain::DescriptorKey;

/// Rows lose half their weight in so many years: merchants come and go.
const HALF_LIFE_YEARS: f64 = 2.0;

/// One statement text.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit<'a> {
    /// The text.
    pub descriptor: &'a str,
    /// Its rows, recent ones counting more.
    pub volume: f64,
    /// Its rows.
    pub rows: usize,
    /// Its newest row: a place among the candidates.
    pub newest: usize,
}

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub struct Merchant<'a> {
    /// The key.
    pub key: &'a DescriptorKey,
    /// Its rows, recent ones counting more.
    pub volume: f64,
    /// Its texts, heaviest first.
    pub units: Vec<Unit<'a>>,
}

/// The candidates by key and text, heaviest first. Volumes count rows, recent ones more.
pub struct Market<'a> {
    /// The candidates.
    pub candidates: &'a [Candidate],
    /// Their keys, heaviest first.
    pub merchants: Vec<Merchant<'a>>,
}

impl<'a> Market<'a> {
    /// Groups the candidates.
    #[must_use]
    pub fn new(candidates: &'a [Candidate]) -> Self {
        let place = |index: usize| (candidates[index].posted_at, &candidates[index].id);
        let last = candidates.iter().map(|candidate| candidate.posted_at).max();
        let mut units: HashMap<&str, Unit<'a>> = HashMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let age = last.map_or(0.0, |last| (last - candidate.posted_at).num_seconds() as f64 / 31_557_600.0);
            let descriptor: &str = &candidate.descriptor;
            let unit = units.entry(descriptor).or_insert(Unit { descriptor, volume: 0.0, rows: 0, newest: index });
            unit.rows += 1;
            unit.volume += 0.5_f64.powf(age / HALF_LIFE_YEARS);
            if place(index) > place(unit.newest) {
                unit.newest = index;
            }
        }
        let mut merchants: HashMap<&DescriptorKey, Vec<Unit<'a>>> = HashMap::new();
        for unit in units.into_values() {
            merchants.entry(&candidates[unit.newest].key).or_default().push(unit);
        }
        let mut merchants: Vec<Merchant<'a>> = merchants
            .into_iter()
            .map(|(key, mut units)| {
                units.sort_by(|a, b| b.volume.total_cmp(&a.volume).then(a.descriptor.cmp(b.descriptor)));
                Merchant { key, volume: units.iter().map(|unit| unit.volume).sum(), units }
            })
            .collect();
        merchants.sort_by(|a, b| b.volume.total_cmp(&a.volume).then(a.key.cmp(b.key)));
        Self { candidates, merchants }
    }

    /// How much traffic each bought row stands for, damped, with mean 1: its text's volume, shared by
    /// the text's bought rows, plus its part of the key's texts that have no label.
    #[must_use]
    pub fn weights(&self, bought: &[usize]) -> Vec<f32> {
        let mut of_text: HashMap<&str, f64> = HashMap::new();
        let mut of_key: HashMap<&DescriptorKey, f64> = HashMap::new();
        for &index in bought {
            *of_text.entry(&self.candidates[index].descriptor).or_default() += 1.0;
            *of_key.entry(&self.candidates[index].key).or_default() += 1.0;
        }
        let mut text_volume: HashMap<&str, f64> = HashMap::new();
        let mut unlabelled: HashMap<&DescriptorKey, f64> = HashMap::new();
        for merchant in &self.merchants {
            for unit in &merchant.units {
                if of_text.contains_key(unit.descriptor) {
                    text_volume.insert(unit.descriptor, unit.volume);
                } else {
                    *unlabelled.entry(merchant.key).or_default() += unit.volume;
                }
            }
        }
        let raw: Vec<f64> = bought
            .iter()
            .map(|&index| {
                let Candidate { descriptor, key, .. } = &self.candidates[index];
                let own = text_volume[&**descriptor] / of_text[&**descriptor];
                let others = unlabelled.get(key).copied().unwrap_or(0.0) / of_key[key];
                (own + others).min(400.0).powf(0.4) + 0.2
            })
            .collect();
        let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
        raw.into_iter().map(|weight| (weight / mean) as f32).collect()
    }
}
