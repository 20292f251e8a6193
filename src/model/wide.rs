//! The wide part: hashed pieces of the descriptor, amount and account, into a multinomial logistic
//! regression. PEFT can't express it; it knows the abbreviations and codes that WordPiece can't see.
//!
//! Every group of pieces has its own hash space. Within a group a row's values are tf-idf, scaled to
//! the group's length, so that no group drowns another.

use std::{borrow::Cow, collections::HashMap};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::input::{AdapterInput, Labelled, Payment};
use crate::domain::taxonomy::MOST_ASSIGNABLE;

const BITS: u32 = 18;
/// Character pieces of the raw text, of the key; words; whole texts; beginnings.
const SCALES: [f32; 5] = [0.7, 1.0, 1.0, 1.0, 0.5];
const GROUPS: usize = SCALES.len();
/// Buckets of all groups.
pub(super) const BUCKETS: usize = GROUPS << BITS;
/// Places of the account's profile, then of the payment, after the buckets.
const ACCOUNT: usize = BUCKETS;
const PAYMENT: usize = ACCOUNT + MOST_ASSIGNABLE;
const LEXICON: usize = PAYMENT + 32;
const LEXICON_SCALE: f32 = 0.3;
/// Bytes that the stored weights may take, so that an adapter's folder stays below 32 MB.
const STORED_BYTES: usize = 24_000_000;
/// Words of the longest term.
const TERM_WORDS: usize = 4;
const PAYMENT_SCALE: f32 = 0.3;
const ACCOUNT_SCALE: f32 = 0.2;
/// Earlier rows that weigh as much as the shares of the whole.
const ACCOUNT_PRIOR: f32 = 20.0;

/// How the wide part is trained.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WideOptions {
    /// Passes over the rows.
    pub epochs: usize,
    /// AdaGrad's first learning rate; it falls in a straight line.
    pub learning_rate: f32,
    /// Pull of every touched weight towards zero.
    pub l2: f32,
    /// How much a lexicon's term counts beside a labelled row.
    pub term_weight: f32,
}

impl Default for WideOptions {
    fn default() -> Self {
        Self { epochs: 10, learning_rate: 0.2, l2: 1e-3, term_weight: 0.3 }
    }
}

/// Keys seen with labels, by hash, and how often with which category.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory(pub(super) HashMap<u64, Vec<(u32, u32)>>);

impl Memory {
    pub(super) fn of(rows: &[Labelled]) -> Self {
        let mut memory: HashMap<u64, Vec<(u32, u32)>> = HashMap::new();
        for row in rows.iter().filter(|row| !row.input.key.is_empty()) {
            let counts = memory.entry(hash_of_key(&row.input.key)).or_default();
            let class = row.class as u32;
            match counts.iter_mut().find(|(of, _)| *of == class) {
                Some((_, count)) => *count += 1,
                None => counts.push((class, 1)),
            }
        }
        Self(memory)
    }

    /// The key's most frequent category and the rows that had it.
    pub(super) fn known(&self, key: &str) -> Option<(usize, u32)> {
        let counts = self.0.get(&hash_of_key(key))?;
        counts
            .iter()
            .max_by_key(|(class, count)| (*count, std::cmp::Reverse(*class)))
            .map(|(class, count)| (*class as usize, *count))
    }
}

/// Terms that hint at a category (`bakery`, `car wash`), by hash of their words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lexicon(pub(super) HashMap<u64, Vec<(u32, f32)>>);

impl Lexicon {
    /// `terms` are texts without a payment; a term's weight is how surely it hints.
    pub(super) fn of(terms: &[Labelled]) -> Self {
        let mut lexicon: HashMap<u64, Vec<(u32, f32)>> = HashMap::new();
        for term in terms.iter().filter(|term| !term.input.key.is_empty()) {
            let hint = (term.class as u32, term.weight);
            lexicon.entry(hash_of_key(&term.input.key)).or_default().push(hint);
        }
        Self(lexicon)
    }

    /// What the terms in a key hint at: the longest at each place, longer ones louder.
    fn hints(&self, key: &str, classes: usize) -> Vec<f32> {
        let mut sums = vec![0.0; classes];
        let words: Vec<&str> = key.split(' ').collect();
        let mut at = 0;
        while at < words.len() && !self.0.is_empty() {
            let longest = (1..=TERM_WORDS.min(words.len() - at))
                .rev()
                .find_map(|n| self.0.get(&hash_of_key(&words[at..at + n].join(" "))).map(|hints| (n, hints)));
            if let Some((n, hints)) = longest {
                hints
                    .iter()
                    .for_each(|(class, weight)| sums[*class as usize] += weight * (1.0 + 0.5 * (n as f32 - 1.0)));
            }
            at += longest.map_or(1, |(n, _)| n);
        }
        sums
    }
}

fn hash_of_key(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

/// The trained wide part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wide {
    pub(super) classes: usize,
    pub(super) memory: Memory,
    pub(super) lexicon: Lexicon,
    /// Inverse document frequency of every bucket.
    pub(super) idf: Vec<f32>,
    /// Shares of the categories among the rows trained on.
    pub(super) shares: Vec<f32>,
    /// Row of weights of a feature.
    pub(super) rows: HashMap<u32, u32>,
    pub(super) weights: Weights,
}

/// `[rows, classes]`: as they were trained, or in 8 bits as they are stored and serve.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Weights {
    Exact(Vec<f32>),
    /// Each row with a scale of its own.
    Rounded {
        scales: Vec<f32>,
        weights: Vec<i8>,
    },
}

impl Weights {
    fn row(&self, at: u32, classes: usize) -> Cow<'_, [f32]> {
        let span = at as usize * classes..(at as usize + 1) * classes;
        match self {
            Self::Exact(weights) => Cow::Borrowed(&weights[span]),
            Self::Rounded { scales, weights } => {
                Cow::Owned(weights[span].iter().map(|weight| f32::from(*weight) * scales[at as usize]).collect())
            }
        }
    }

    /// `sums += value * row`
    fn add(&self, at: u32, value: f32, sums: &mut [f32]) {
        let span = at as usize * sums.len()..(at as usize + 1) * sums.len();
        match self {
            Self::Exact(weights) => add(sums, value, &weights[span]),
            Self::Rounded { scales, weights } => {
                let value = value * scales[at as usize];
                sums.iter_mut().zip(&weights[span]).for_each(|(sum, weight)| *sum += value * f32::from(*weight));
            }
        }
    }
}

fn add(sums: &mut [f32], value: f32, row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
}

/// Features of one row: place and value.
type Features = Vec<(u32, f32)>;

impl Wide {
    /// Trains on labelled rows and on the terms of a lexicon; `texts` are unlabelled, for document frequencies.
    pub(super) fn train(
        (labelled, terms, texts): (&[Labelled], &[Labelled], &[AdapterInput]),
        classes: usize,
        options: WideOptions,
        seed: u64,
    ) -> Self {
        let rows: Vec<(&Labelled, f32)> = labelled
            .iter()
            .map(|row| (row, row.weight))
            .chain(terms.iter().map(|term| (term, term.weight * options.term_weight)))
            .collect();
        let mut wide = Self {
            classes,
            memory: Memory::of(labelled),
            lexicon: Lexicon::of(terms),
            idf: idf(texts.iter()),
            shares: shares(labelled, classes),
            rows: HashMap::new(),
            weights: Weights::Exact(Vec::new()),
        };
        let features: Vec<Features> = rows
            .iter()
            .map(|(row, _)| {
                let mut features = wide.features(&row.input);
                for (feature, _) in &mut features {
                    let next = wide.rows.len() as u32;
                    *feature = *wide.rows.entry(*feature).or_insert(next);
                }
                features
            })
            .collect();
        let mut weights = vec![0.0; wide.rows.len() * classes];
        let mut squares = vec![1e-6f32; weights.len()];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut gradient = vec![0.0; classes];
        for epoch in 0..options.epochs {
            let rate = options.learning_rate * (1.0 - epoch as f32 / options.epochs as f32);
            order.shuffle(&mut rng);
            for &at in &order {
                let ((row, weight), features) = (rows[at], &features[at]);
                gradient.fill(0.0);
                for &(feature, value) in features {
                    add(&mut gradient, value, &weights[feature as usize * classes..][..classes]);
                }
                let top = gradient.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                gradient.iter_mut().for_each(|logit| *logit = (*logit - top).exp());
                let scale = weight / gradient.iter().sum::<f32>();
                gradient.iter_mut().for_each(|probability| *probability *= scale);
                gradient[row.class] -= weight;
                let pull = options.l2 * weight;
                for &(feature, value) in features {
                    let span = feature as usize * classes..(feature as usize + 1) * classes;
                    let of_row = weights[span.clone()].iter_mut().zip(&mut squares[span]);
                    for ((weight, square), gradient) in of_row.zip(&gradient) {
                        let slope = gradient * value + pull * *weight;
                        *square += slope * slope;
                        *weight -= rate * slope / (square.sqrt() + 1e-3);
                    }
                }
            }
        }
        wide.weights = Weights::Exact(weights);
        wide
    }

    pub(super) fn logits(&self, input: &AdapterInput) -> Vec<f32> {
        let mut logits = vec![0.0; self.classes];
        for (feature, value) in self.features(input) {
            if let Some(row) = self.rows.get(&feature) {
                self.weights.add(*row, value, &mut logits);
            }
        }
        logits
    }

    fn features(&self, input: &AdapterInput) -> Features {
        let mut features = Vec::new();
        for (group, pieces) in pieces(input).into_iter().enumerate() {
            let mut counts = pieces;
            counts.sort_unstable();
            let start = features.len();
            for run in counts.chunk_by(|a, b| a == b) {
                let feature = bucket(group, run[0]);
                features.push((feature, (1.0 + (run.len() as f32).ln()) * self.idf[feature as usize]));
            }
            let length = features[start..].iter().map(|(_, value)| value * value).sum::<f32>().sqrt();
            features[start..].iter_mut().for_each(|(_, value)| *value *= SCALES[group] / length);
        }
        if let Some(paid) = input.payment {
            self.profile(input, &mut features);
            payment(paid, &mut features);
            let hints = self.lexicon.hints(&input.key, self.classes).into_iter().enumerate();
            let heard = hints.filter(|(_, hint)| *hint != 0.0);
            features.extend(heard.map(|(class, hint)| ((LEXICON + class) as u32, LEXICON_SCALE * hint)));
        }
        features
    }

    /// What the account's earlier rows were, as far as their keys are known, against the shares of the whole.
    fn profile(&self, input: &AdapterInput, features: &mut Features) {
        let mut counts = vec![0.0; self.classes];
        for (key, count) in input.earlier.iter().filter(|(key, _)| *key != input.key) {
            if let Some((class, _)) = self.memory.known(key) {
                counts[class] += *count as f32;
            }
        }
        let total: f32 = counts.iter().sum();
        for (class, (count, share)) in counts.iter().zip(&self.shares).enumerate() {
            let smoothed = (count + ACCOUNT_PRIOR * share) / (total + ACCOUNT_PRIOR);
            features.push(((ACCOUNT + class) as u32, ACCOUNT_SCALE * (smoothed / share).ln()));
        }
    }
}

fn payment(payment: Payment, features: &mut Features) {
    let octave = (payment.amount + 0.5).log2().clamp(0.0, 14.0) as u32;
    let flags = [(15, payment.credit), (16, payment.amount.fract() == 0.0), (17, payment.weekend)];
    let places = std::iter::once(octave).chain(flags.into_iter().filter(|(_, set)| *set).map(|(place, _)| place));
    features.extend(places.map(|place| (PAYMENT as u32 + place, PAYMENT_SCALE)));
}

fn bucket(group: usize, hash: u32) -> u32 {
    (group as u32) << BITS | hash
}

/// FNV-1a over the parts, folded to a bucket.
fn hash(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    let hash = bytes.fold(2_166_136_261u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619));
    (hash ^ hash >> 15) & ((1 << BITS) - 1)
}

/// Buckets of every group's pieces, with repetition.
fn pieces(input: &AdapterInput) -> [Vec<u32>; GROUPS] {
    let (raw, key) = (input.descriptor.to_lowercase(), input.key.as_str());
    let words: Vec<&str> = key.split(' ').filter(|word| !word.is_empty()).collect();
    let mut of_words: Vec<u32> = words.iter().map(|word| hash(&[b"w|", word.as_bytes()])).collect();
    of_words.extend(words.windows(2).map(|two| hash(&[b"b|", two[0].as_bytes(), b" ", two[1].as_bytes()])));
    of_words.push(hash(&[b"f|", words.first().unwrap_or(&"").as_bytes()]));
    of_words.push(hash(&[b"l|", words.last().unwrap_or(&"").as_bytes()]));
    of_words.push(hash(&[b"p|", input.processor.as_bytes()]));
    if let [first, second, ..] = words[..] {
        of_words.push(hash(&[b"f2|", first.as_bytes(), b" ", second.as_bytes()]));
    }
    let whole = vec![
        hash(&[b"K|", key.as_bytes()]),
        hash(&[b"R|", raw.as_bytes()]),
        hash(&[b"H|", without_codes(&raw).as_bytes()]),
    ];
    let joined: String = words.concat();
    let beginnings = [4, 6, 8, 10, 12, 15].into_iter().filter_map(|n| {
        let end = joined.char_indices().nth(n - 1).map(|(at, c)| at + c.len_utf8())?;
        Some(hash(&[b"P|", &joined.as_bytes()[..end]]))
    });
    [grams(&raw, 2..=5), grams(key, 3..=6), of_words, whole, beginnings.collect()]
}

/// Every run of `sizes` characters inside each word, which has a space at either end.
fn grams(text: &str, sizes: std::ops::RangeInclusive<usize>) -> Vec<u32> {
    let mut hashes = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let padded = format!(" {word} ");
        let starts: Vec<usize> = padded.char_indices().map(|(at, _)| at).chain([padded.len()]).collect();
        for size in sizes.clone() {
            hashes.extend(starts.windows(size + 1).map(|window| hash(&[&padded.as_bytes()[window[0]..window[size]]])));
        }
    }
    hashes
}

/// The words without a digit, letters only.
fn without_codes(raw: &str) -> String {
    let words = raw.split(|c: char| c.is_whitespace() || c == '*' || c == '#' || c == '/');
    let kept: Vec<String> = words
        .filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()))
        .map(|word| {
            word.chars().map(|c| if c.is_ascii_lowercase() || c == '&' || c == '\'' { c } else { ' ' }).collect()
        })
        .collect();
    kept.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn idf<'a>(texts: impl Iterator<Item = &'a AdapterInput>) -> Vec<f32> {
    let mut documents = vec![0u32; BUCKETS];
    let mut count = 0u32;
    for input in texts {
        count += 1;
        for (group, mut pieces) in pieces(input).into_iter().enumerate() {
            pieces.sort_unstable();
            pieces.dedup();
            pieces.into_iter().for_each(|piece| documents[bucket(group, piece) as usize] += 1);
        }
    }
    documents.into_iter().map(|seen| ((count + 1) as f32 / (seen + 1) as f32).ln() + 1.0).collect()
}

fn shares(rows: &[Labelled], classes: usize) -> Vec<f32> {
    let mut counts = vec![1.0f32; classes];
    rows.iter().for_each(|row| counts[row.class] += 1.0);
    let total: f32 = counts.iter().sum();
    counts.into_iter().map(|count| count / total).collect()
}

/// Weights rounded to 8 bits, each row with a scale of its own.
pub(super) struct Rounded {
    pub(super) features: Vec<u32>,
    pub(super) scales: Vec<f32>,
    /// `[features, classes]`
    pub(super) weights: Vec<i8>,
}

impl Rounded {
    /// Leaves out the smallest rows where there are more than [`STORED_BYTES`] of them.
    pub(super) fn of(wide: &Wide) -> Self {
        let largest = |weights: &[f32]| weights.iter().fold(0.0f32, |top, weight| top.max(weight.abs()));
        let mut rows: Vec<(u32, f32, Cow<'_, [f32]>)> = wide
            .rows
            .iter()
            .map(|(feature, row)| (*feature, wide.weights.row(*row, wide.classes)))
            .map(|(feature, weights)| (feature, largest(&weights), weights))
            .collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        rows.truncate(STORED_BYTES / (wide.classes + 8));
        rows.sort_by_key(|row| row.0);
        let scales: Vec<f32> = rows.iter().map(|row| (row.1 / 127.0).max(f32::MIN_POSITIVE)).collect();
        let round = |((_, _, weights), scale): (&(u32, f32, Cow<'_, [f32]>), &f32)| -> Vec<i8> {
            weights.iter().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8).collect()
        };
        let weights = rows.iter().zip(&scales).flat_map(round).collect();
        Self { features: rows.iter().map(|row| row.0).collect(), scales, weights }
    }

    /// Where each feature's row is, and the rows.
    pub(super) fn rows(self) -> (HashMap<u32, u32>, Weights) {
        let Self { features, scales, weights } = self;
        (features.into_iter().zip(0..).collect(), Weights::Rounded { scales, weights })
    }
}

impl Wide {
    /// As it will be read from its folder.
    pub(super) fn rounded(&self) -> Self {
        let (rows, weights) = Rounded::of(self).rows();
        let idf = self.idf.iter().map(|idf| half::f16::from_f32(*idf).to_f32()).collect();
        Self { rows, weights, idf, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Descriptor;

    fn row(descriptor: &str, class: usize) -> Labelled {
        let mut input = AdapterInput::of_descriptor(&Descriptor::parse(descriptor).unwrap());
        input.payment = Some(Payment { amount: 12.5, credit: false, weekend: false });
        Labelled { input, class, weight: 1.0 }
    }

    #[test]
    fn it_learns_merchants_and_what_they_share() {
        let rows: Vec<Labelled> =
            ["STARBUCKS 123", "JOES COFFEE", "SHELL 44", "SHELL C998", "BLUE COFFEE BAR", "ESSO 12"]
                .into_iter()
                .zip([0, 0, 1, 1, 0, 1])
                .map(|(descriptor, class)| row(descriptor, class))
                .collect();
        let texts: Vec<AdapterInput> = rows.iter().map(|row| row.input.clone()).collect();
        let wide = Wide::train((&rows, &[], &texts), 2, WideOptions::default(), 1).rounded();
        let says = |descriptor: &str| {
            let logits = wide.logits(&row(descriptor, 0).input);
            usize::from(logits[1] > logits[0])
        };
        assert_eq!((says("SHELL 99"), says("COFFEE HOUSE"), says("STARBUCKS 9")), (1, 0, 0));
        assert_eq!(wide.memory.known(row("SHELL 5", 0).input.key.as_str()), Some((1, 2)));
    }

    #[test]
    fn hints_take_the_longest_term_at_each_place() {
        let term = |text: &str, class| Labelled { weight: 1.0, ..row(text, class) };
        let lexicon = Lexicon::of(&[term("car", 0), term("car wash", 1), term("bakery", 2)]);
        assert_eq!(lexicon.hints("joes car wash bakery", 3), [0.0, 1.5, 1.0]);
        assert_eq!(lexicon.hints("", 3), [0.0; 3]);
    }
}
