//! The packed arithmetic against candle's autograd, finite differences and itself.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::model::{Error, lora::LoraOptions, method::Method, reference};

const CLASSES: usize = 3;

impl Packed {
    fn from_tensors(tensors: &HashMap<String, Tensor>, config: &Config) -> Result<Self, Error> {
        Self::of(config, |name, sizes| {
            assert_eq!(tensors[&name].dims(), sizes, "{name}");
            Ok(tensors[&name].flatten_all()?.to_vec1()?)
        })
    }
}

type Setting = (Config, HashMap<String, Tensor>, Layout, Vec<f32>, Vec<Vec<u32>>);

/// A tiny encoder, an adapter with no zero in it, and sequences of three lengths.
fn setting() -> Setting {
    let config = Config::tiny();
    let tensors = reference::random_tensors(&config).unwrap();
    let options = LoraOptions { rank: 2, alpha: 3.0, dropout: 0.0, targets: TARGETS.to_vec() };
    let layout = Layout::new(&config, Method::Lora, &options, CLASSES);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let numbers = (0..layout.len()).map(|_| rng.random_range(-0.5..0.5)).collect();
    (config, tensors, layout, numbers, vec![vec![1, 2, 3, 4, 5], vec![6, 7], vec![8, 9, 10, 11, 12, 13, 14]])
}

fn refs(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

#[test]
fn packed_forward_and_gradients_are_those_of_candle_autograd() {
    let (config, tensors, layout, numbers, sequences) = setting();
    let vb = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
    let variables = reference::variables(&layout, &numbers).unwrap();
    let bert = reference::Bert::load(&vb, &config, &layout, &variables).unwrap();
    let expected = bert.forward(&refs(&sequences)).unwrap();
    let weighting: Vec<f32> = (0..sequences.len() * config.hidden_size).map(|at| (at as f32 * 0.7).sin()).collect();
    let shape = (sequences.len(), config.hidden_size);
    let loss = (&expected * Tensor::from_slice(&weighting, shape, &Device::Cpu).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();

    let packed = Packed::from_tensors(&tensors, &config).unwrap();
    let lora = Learned { layout: &layout, numbers: &numbers, noise: None };
    let (pooled, tape) = packed.taped(&refs(&sequences), lora);
    let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
    close(&pooled, &expected, 1e-5);
    let mut sums = vec![0.0; layout.len()];
    packed.backward(&tape, &weighting, lora, &mut sums);
    for (name, pair) in layout.named_pairs() {
        for slot in [pair.a, pair.b] {
            let expected = gradients.get(&variables[&slot.start]).unwrap_or_else(|| panic!("{name} has no gradient"));
            let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
            assert!(slot.of(&sums).iter().any(|gradient| gradient.abs() > 1e-6), "{name} never trains");
            close(slot.of(&sums), &expected, 1e-4);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_with_the_same_dropout() {
    let (config, tensors, mut layout, mut numbers, sequences) = setting();
    layout.dropout = 0.3;
    let packed = Packed::from_tensors(&tensors, &config).unwrap();
    let loss = |numbers: &[f32]| -> f64 {
        let lora = Learned { layout: &layout, numbers, noise: Some(5) };
        let pooled = packed.taped(&refs(&sequences), lora).0;
        pooled.iter().enumerate().map(|(at, x)| f64::from(*x) * (at as f64 * 0.7).sin()).sum()
    };
    let lora = Learned { layout: &layout, numbers: &numbers, noise: Some(5) };
    let (pooled, tape) = packed.taped(&refs(&sequences), lora);
    let grads: Vec<f32> = (0..pooled.len()).map(|at| (at as f32 * 0.7).sin()).collect();
    let mut sums = vec![0.0; layout.len()];
    packed.backward(&tape, &grads, lora, &mut sums);
    for at in (0..layout.head_weight.start).step_by(37) {
        let (kept, step) = (numbers[at], 4e-3);
        numbers[at] = kept + step;
        let above = loss(&numbers);
        numbers[at] = kept - step;
        let below = loss(&numbers);
        numbers[at] = kept;
        let slope = (above - below) / f64::from(2.0 * step);
        let ours = f64::from(sums[at]);
        assert!(
            (slope - ours).abs() < 2e-2 * (1.0 + ours.abs()),
            "number {at}: {slope} by differences, {ours} by hand"
        );
    }
}

#[test]
fn merged_weights_give_what_the_adapter_beside_them_gives() {
    let (config, tensors, layout, numbers, sequences) = setting();
    let packed = Packed::from_tensors(&tensors, &config).unwrap();
    let lora = Learned { layout: &layout, numbers: &numbers, noise: None };
    let merged = packed.merged(lora).pooled(&[Group::new(None, &sequences)]);
    close(&merged, &packed.pooled(&[Group::new(Some(lora), &sequences)]), 1e-4);
    let without = packed.pooled(&[Group::new(None, &sequences)]);
    assert!(without.iter().zip(&merged).any(|(a, b)| (a - b).abs() > 1e-2), "the adapter does something");
}

#[test]
fn groups_of_one_pack_are_each_read_with_their_own_numbers() {
    let (config, tensors, layout, numbers, sequences) = setting();
    let packed = Packed::from_tensors(&tensors, &config).unwrap();
    let options = LoraOptions { rank: 5, alpha: 1.0, targets: vec![Target::Value, Target::Output], dropout: 0.0 };
    let other = Layout::new(&config, Method::Lora, &options, 1);
    let halves = vec![0.5; other.len()];
    let first = Some(Learned { layout: &layout, numbers: &numbers, noise: None });
    let second = Some(Learned { layout: &other, numbers: &halves, noise: None });
    let groups = [
        Group::new(first, &sequences[..1]),
        Group::new(None, &sequences),
        Group::new(second, &sequences[1..]),
        Group::new(second, &sequences[..0]),
        Group::new(first, &sequences[2..]),
    ];
    let alone: Vec<f32> = groups.iter().flat_map(|group| packed.pooled(std::slice::from_ref(group))).collect();
    close(&packed.pooled(&groups), &alone, 1e-5);
}

#[test]
fn gradients_of_every_weight_are_those_of_candle_autograd() {
    let (config, tensors, _, _, sequences) = setting();
    let layout = Layout::new(&config, Method::Full, &LoraOptions::default(), CLASSES);
    let whole = layout.whole.as_ref().unwrap();
    let mut numbers = vec![0.0; layout.len()];
    whole.fill(&Packed::from_tensors(&tensors, &config).unwrap().tensors(), &mut numbers);
    let learned = Learned { layout: &layout, numbers: &numbers, noise: None };
    // The encoder beneath is all zeros: whatever comes out comes from the numbers.
    let zeros = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like().unwrap())).collect();
    let packed = Packed::from_tensors(&zeros, &config).unwrap();
    let (pooled, tape) = packed.taped(&refs(&sequences), learned);

    let variables: HashMap<String, Var> =
        tensors.iter().map(|(name, tensor)| (name.clone(), Var::from_tensor(tensor).unwrap())).collect();
    let in_use = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())).collect();
    let vb = VarBuilder::from_tensors(in_use, DType::F32, &Device::Cpu);
    let none = Layout::new(&config, Method::Head, &LoraOptions::default(), CLASSES);
    let bert = reference::Bert::load(&vb, &config, &none, &HashMap::new()).unwrap();
    let expected = bert.forward(&refs(&sequences)).unwrap();
    let weighting: Vec<f32> = (0..pooled.len()).map(|at| (at as f32 * 0.7).sin()).collect();
    let shape = (sequences.len(), config.hidden_size);
    let loss = (&expected * Tensor::from_slice(&weighting, shape, &Device::Cpu).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();

    close(&pooled, &expected.flatten_all().unwrap().to_vec1::<f32>().unwrap(), 1e-5);
    close(&packed.merged(learned).pooled(&[Group::new(None, &sequences)]), &pooled, 1e-6);
    let mut sums = vec![0.0; layout.len()];
    packed.backward(&tape, &weighting, learned, &mut sums);
    for (name, slot) in whole.named() {
        let expected = gradients.get(&variables[&name]).unwrap_or_else(|| panic!("{name} has no gradient"));
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        // A softmax doesn't change when the same is added to all scores: a key's bias has no gradient.
        let idle = name.ends_with("key.bias");
        assert!(idle || slot.of(&sums).iter().any(|gradient| gradient.abs() > 1e-6), "{name} never trains");
        close(slot.of(&sums), &expected, 1e-4);
    }
}

#[test]
fn quantized_weights_compute_as_the_same_weights_unpacked() {
    let (config, tensors, layout, numbers, sequences) = setting();
    let plain = Packed::from_tensors(&tensors, &config).unwrap();
    let quantized = plain.clone().quantized();
    let unpacked = quantized.clone().unpacked();
    let learned = Learned { layout: &layout, numbers: &numbers, noise: Some(3) };
    let run = |packed: &Packed| {
        let (pooled, tape) = packed.taped(&refs(&sequences), learned);
        let mut sums = vec![0.0; layout.len()];
        packed.backward(&tape, &pooled, learned, &mut sums);
        (pooled, sums)
    };
    assert_eq!(run(&quantized), run(&unpacked));
    let (exact, rounded) = (run(&plain).0, run(&quantized).0);
    assert!(exact.iter().zip(&rounded).any(|(a, b)| (a - b).abs() > 1e-3), "nothing was rounded");
    let merged = quantized.merged(learned).pooled(&[Group::new(None, &sequences)]);
    close(&merged, &quantized.pooled(&[Group::new(Some(Learned { noise: None, ..learned }), &sequences)]), 1e-4);
}

#[test]
fn weights_in_bf16_compute_nearly_as_they_came_until_they_change() {
    let config = Config::of_whole_vectors(2);
    let plain = Packed::from_tensors(&reference::random_tensors(&config).unwrap(), &config).unwrap();
    let halved = plain.clone().halved().unwrap();
    let options = LoraOptions { rank: 2, alpha: 3.0, dropout: 0.0, targets: TARGETS.to_vec() };
    let layout = Layout::new(&config, Method::Lora, &options, CLASSES);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let numbers: Vec<f32> = (0..layout.len()).map(|_| rng.random_range(-0.1..0.1)).collect();
    let learned = Learned { layout: &layout, numbers: &numbers, noise: None };
    let sequences = [vec![1, 2, 3, 4, 5], vec![6, 7]];
    let run = |packed: &Packed| {
        let (pooled, tape) = packed.taped(&refs(&sequences), learned);
        let weighting: Vec<f32> = (0..pooled.len()).map(|at| (at as f32 * 0.7).sin()).collect();
        let mut sums = vec![0.0; layout.len()];
        packed.backward(&tape, &weighting, learned, &mut sums);
        (pooled, sums)
    };
    let ((exact, exact_sums), (rounded, rounded_sums)) = (run(&plain), run(&halved));
    for (exact, rounded) in [(exact, rounded), (exact_sums, rounded_sums)] {
        let length = |xs: &[f32]| xs.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let apart: Vec<f32> = exact.iter().zip(&rounded).map(|(exact, rounded)| exact - rounded).collect();
        let share = length(&apart) / length(&exact);
        assert!((1e-5..3e-2).contains(&share), "{share} of the length is off");
    }
    let merged = |packed: &Packed| packed.merged(learned).pooled(&[Group::new(None, &sequences)]);
    assert_eq!(merged(&plain), merged(&halved), "what is measured is measured in f32");
    let (config, tensors, ..) = setting();
    assert!(Packed::from_tensors(&tensors, &config).unwrap().halved().is_none(), "rows of no whole panels");
}

#[test]
fn a_pack_gives_the_same_however_its_rows_are_mixed() {
    let mut config = Config::of_whole_vectors(2);
    (config.hidden_size, config.intermediate_size) = (192, 1_536);
    let packed = Packed::from_tensors(&reference::random_tensors(&config).unwrap(), &config).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let all: Vec<Vec<u32>> =
        (2..40).map(|length| (0..length).map(|_| rng.random_range(0..config.vocab_size as u32)).collect()).collect();
    for rank in [1, 2, 8, 20] {
        let options = LoraOptions { rank, alpha: 3.0, dropout: 0.0, targets: TARGETS.to_vec() };
        let layout = Layout::new(&config, Method::Lora, &options, CLASSES);
        let numbers: Vec<f32> = (0..layout.len()).map(|_| rng.random_range(-0.3..0.3)).collect();
        for learned in [None, Some(Learned { layout: &layout, numbers: &numbers, noise: None })] {
            let pooled = |rows: &[Vec<u32>]| packed.pooled(&[Group::new(learned, rows)]);
            let together = pooled(&all);
            for (at, of_row) in together.chunks_exact(config.hidden_size).enumerate() {
                assert_eq!(pooled(&all[at..=at]), of_row, "row {at} of rank {rank}");
            }
        }
    }
}

#[test]
fn rounded_gains_give_the_numbers_back() {
    let (config, tensors, ..) = setting();
    let packed = Packed::from_tensors(&tensors, &config).unwrap();
    let layout = Layout::new(&config, Method::Full, &LoraOptions::default(), CLASSES);
    let whole = layout.whole.as_ref().unwrap();
    let mut numbers = vec![0.0; layout.len()];
    whole.fill(&packed.tensors(), &mut numbers);
    let base = numbers.clone();
    numbers.iter_mut().enumerate().for_each(|(at, number)| *number += (at as f32).sin() * 1e-2);
    let exact = numbers.clone();
    whole.round(&packed.tensors(), &mut numbers);
    for ((rounded, exact), base) in numbers.iter().zip(&exact).zip(&base).take(layout.head_weight.start) {
        assert!((rounded - exact).abs() <= 5e-4 * (exact - base).abs() + 1e-7, "{rounded} {exact} {base}");
    }
    let once = numbers.clone();
    whole.round(&packed.tensors(), &mut numbers);
    close(&numbers, &once, 1e-7);
}

fn close(found: &[f32], expected: &[f32], within: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= within * (1.0 + expected.abs()), "{found} for {expected}");
    }
}
