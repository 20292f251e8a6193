//! Bytes and bf16 against `f32`, and every instruction set against the portable one.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    isa::Isa,
    model::{Block, Scratch},
    *,
};
use crate::model::{
    bert::Config,
    lora::{Layout, LoraOptions, TARGETS, Target},
    method::Method,
    packed::{self, Learned, Packed},
    reference,
};

const VOCABULARY: u32 = 40;

fn exact(config: &Config) -> Packed {
    let tensors = reference::random_tensors(config).unwrap();
    Packed::of(config, |name, _| Ok(tensors[&name].flatten_all()?.to_vec1()?)).unwrap()
}

fn sequences(lengths: impl IntoIterator<Item = usize>, rng: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
    lengths.into_iter().map(|length| (0..length).map(|_| rng.random_range(0..VOCABULARY)).collect()).collect()
}

fn adapter(config: &Config, targets: Vec<Target>, rank: usize, seed: u64) -> (Layout, Vec<f32>) {
    let options = LoraOptions { rank, alpha: 3.0, dropout: 0.0, targets };
    let layout = Layout::new(config, Method::Lora, &options, 3);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let numbers = (0..layout.len()).map(|_| rng.random_range(-0.3..0.3)).collect();
    (layout, numbers)
}

fn pooled(crew: &Crew, model: &Arc<Model>, groups: &[Group<'_>]) -> Vec<f32> {
    let mut out = Vec::new();
    crew.pooled(model, groups, &mut out);
    out
}

/// How far from `f32` a format may be.
fn allowed(format: Format) -> f32 {
    if format == Format::Int8 { 0.05 } else { 0.02 }
}

/// The largest difference, as a share of the largest number.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let most = b.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(a.iter().all(|x| x.is_finite()) && most > 0.0);
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / most
}

#[test]
fn sequences_of_every_length_are_near_the_exact_ones_on_every_instruction_set() {
    for heads in [4, 2, 1] {
        let config = Config::of_whole_vectors(heads);
        let exact = exact(&config);
        let mut rng = ChaCha8Rng::seed_from_u64(heads as u64);
        let mut lengths: Vec<usize> = (1..=24).collect();
        // Long ones take their time where nothing is optimized.
        lengths.extend(if heads == 2 { vec![rng.random_range(100..512), 512] } else { vec![rng.random_range(25..60)] });
        let sequences = sequences(lengths, &mut rng);
        let expected = exact.pooled(&[packed::Group::new(None, &sequences)]);
        let groups = [Group { adapter: None, sequences: &sequences }];
        for format in Format::ALL {
            let model = Arc::new(Model::new(&exact, format).unwrap());
            let portable = pooled(&Crew::of(1, Isa::all().last().unwrap()), &model, &groups);
            for isa in Isa::all() {
                let found = pooled(&Crew::of(3, isa), &model, &groups);
                let (from_exact, from_portable) = (apart(&found, &expected), apart(&found, &portable));
                let near = from_exact < allowed(format) && from_portable < 0.01;
                assert!(near, "{format} on {}: {from_exact} {from_portable}", isa.instructions());
            }
        }
    }
}

#[test]
fn lengths_drawn_from_none_to_the_longest_are_near_the_exact_ones_on_every_instruction_set() {
    let config = Config::of_whole_vectors(2);
    let exact = exact(&config);
    let models = Format::ALL.map(|format| Arc::new(Model::new(&exact, format).unwrap()));
    let crews: Vec<Crew> = Isa::all().map(|isa| Crew::of(2, isa)).collect();
    for seed in 0..12 {
        let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
        // Most are short, as descriptors are; some are as long as positions go.
        let drawn = |rng: &mut ChaCha8Rng| (513.0 * rng.random::<f64>().powi(4)) as usize;
        let mut lengths: Vec<usize> = (0..rng.random_range(1..6)).map(|_| drawn(&mut rng)).collect();
        lengths.push(1);
        let sequences = sequences(lengths, &mut rng);
        let filled: Vec<Vec<u32>> = sequences.iter().filter(|ids| !ids.is_empty()).cloned().collect();
        let expected = exact.pooled(&[packed::Group::new(None, &filled)]);
        for (crew, model) in crews.iter().flat_map(|crew| models.iter().map(move |model| (crew, model))) {
            let found = pooled(crew, model, &[Group { adapter: None, sequences: &sequences }]);
            let (rows, empty): (Vec<_>, Vec<_>) =
                found.chunks_exact(64).zip(&sequences).partition(|(_, ids)| !ids.is_empty());
            let found: Vec<f32> = rows.into_iter().flat_map(|(row, _)| row.to_vec()).collect();
            let apart = apart(&found, &expected);
            let format = model.format();
            assert!(apart < allowed(format), "{format} on {} {seed}: {apart}", crew.instructions());
            assert!(empty.iter().all(|(row, _)| row.iter().all(|x| *x == 0.0)));
        }
    }
}

/// On a processor without tiles, what stands in for them ([`lanes::emulated`]) does what the instructions say.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn tiles_multiply_what_plain_rust_multiplies() {
    let config = Config::of_whole_vectors(2);
    let exact = exact(&config);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let sequences = sequences([1, 5, 16, 17, 2, 15, 33, 3, 9, 4, 31], &mut rng);
    let adapters =
        [adapter(&config, TARGETS.to_vec(), 20, 1), adapter(&config, vec![Target::Query, Target::Output], 4, 2)];
    for format in Format::ALL {
        let model = Arc::new(Model::new(&exact, format).unwrap());
        let beside = adapters.each_ref().map(|(layout, numbers)| Arc::new(model.beside(layout, numbers).unwrap()));
        let pieces = [(None, 0..4), (Some(&beside[0]), 4..8), (Some(&beside[1]), 8..11)];
        let groups = pieces.map(|(adapter, rows)| Group { adapter, sequences: &sequences[rows] });
        let plain = Isa::all().last().unwrap();
        let [plain, tiles] = [plain, Isa::portable_with_tiles()].map(|isa| pooled(&Crew::of(2, isa), &model, &groups));
        match format {
            // Sums of bytes are exact, and all else is the same.
            Format::Int8 => assert!(tiles == plain, "{}", apart(&tiles, &plain)),
            Format::Bf16 => assert!(apart(&tiles, &plain) < 1e-3, "{}", apart(&tiles, &plain)),
        }
    }
}

#[test]
fn an_empty_sequence_has_a_vector_of_zeros_and_disturbs_nobody() {
    let config = Config::of_whole_vectors(2);
    let model = Arc::new(Model::new(&exact(&config), Format::Int8).unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let with = sequences([0, 5, 0, 0, 7, 0], &mut rng);
    let without = [with[1].clone(), with[4].clone()];
    let crew = Crew::of(2, Isa::fastest());
    let found = pooled(&crew, &model, &[Group { adapter: None, sequences: &with }]);
    let alone = pooled(&crew, &model, &[Group { adapter: None, sequences: &without }]);
    let rows: Vec<&[f32]> = found.chunks_exact(64).collect();
    assert!([0, 2, 3, 5].iter().all(|at| rows[*at].iter().all(|x| *x == 0.0)));
    assert_eq!([rows[1], rows[4]].concat(), alone);
    assert!(pooled(&crew, &model, &[]).is_empty());
}

#[test]
fn adapters_are_computed_beside_the_weights_each_for_its_own_rows() {
    let config = Config::of_whole_vectors(2);
    let exact = exact(&config);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let adapters = [
        adapter(&config, TARGETS.to_vec(), 4, 1),
        adapter(&config, vec![Target::Query, Target::Value], 20, 2),
        adapter(&config, vec![Target::Output], 16, 3),
    ];
    let sequences = sequences([9, 3, 14, 1, 30, 6, 2, 17], &mut rng);
    let pieces = [(Some(0), 0..2), (None, 2..3), (Some(1), 3..5), (Some(2), 5..7), (Some(0), 7..8)];
    let expected: Vec<packed::Group<'_>> = pieces
        .iter()
        .map(|(of, rows)| {
            let learned = of.map(|of: usize| &adapters[of]);
            let learned = learned.map(|(layout, numbers)| Learned { layout, numbers, noise: None });
            packed::Group::new(learned, &sequences[rows.clone()])
        })
        .collect();
    let (expected, plain) = (exact.pooled(&expected), exact.pooled(&[packed::Group::new(None, &sequences)]));
    assert!(apart(&plain, &expected) > 0.2, "the adapters do next to nothing");
    for format in Format::ALL {
        let model = Arc::new(Model::new(&exact, format).unwrap());
        let beside = adapters.each_ref().map(|(layout, numbers)| Arc::new(model.beside(layout, numbers).unwrap()));
        let groups =
            pieces.clone().map(|(of, rows)| Group { adapter: of.map(|of| &beside[of]), sequences: &sequences[rows] });
        for isa in Isa::all() {
            let found = pooled(&Crew::of(2, isa), &model, &groups);
            let apart = apart(&found, &expected);
            assert!(apart < 1.2 * allowed(format), "{format} on {}: {apart}", isa.instructions());
        }
        let head = Layout::new(&config, Method::Head, &LoraOptions::default(), 3);
        assert!(model.beside(&head, &vec![0.0; head.len()]).is_none());
    }
}

#[test]
fn a_batch_gives_the_same_however_its_rows_are_mixed() {
    let exact = exact(&Config::of_whole_vectors(4));
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let lengths: Vec<usize> = (0..70).map(|_| rng.random_range(1..40)).collect();
    let all = sequences(lengths, &mut rng);
    let crew = Crew::of(3, Isa::fastest());
    for format in Format::ALL {
        let model = Arc::new(Model::new(&exact, format).unwrap());
        let together = pooled(&crew, &model, &[Group { adapter: None, sequences: &all }]);
        for (at, of_row) in together.chunks_exact(64).enumerate() {
            let alone = pooled(&crew, &model, &[Group { adapter: None, sequences: &all[at..=at] }]);
            assert_eq!(alone, of_row, "row {at} in {format}");
        }
    }
}

#[test]
fn encoders_whose_rows_are_no_whole_vectors_stay_exact() {
    assert!(Format::ALL.into_iter().all(|format| Model::new(&exact(&Config::tiny()), format).is_none()));
}

#[test]
fn the_second_batch_allocates_nothing() {
    let config = Config::of_whole_vectors(2);
    let exact = exact(&config);
    let models = Format::ALL.map(|format| Arc::new(Model::new(&exact, format).unwrap()));
    let (layout, numbers) = adapter(&config, TARGETS.to_vec(), 4, 1);
    let beside = models.each_ref().map(|model| [Arc::new(model.beside(&layout, &numbers).unwrap())]);
    let ids: Vec<u32> = (0..60).map(|at| at % VOCABULARY).collect();
    let (mut scratch, mut out) = (Scratch::default(), vec![0.0; 3 * 64]);
    let all = sequences([20, 5, 35], &mut ChaCha8Rng::seed_from_u64(1));
    let (crew, mut vectors) = (Crew::of(2, Isa::fastest()), Vec::new());
    let mut batch = || {
        for (model, adapters) in models.iter().zip(&beside) {
            let block = Block { ids: &ids, sequences: &[(20, Some(0)), (5, None), (35, Some(0))], adapters };
            model.pooled(Isa::fastest(), block, &mut scratch, &mut out);
            // The helper's allocations are its own thread's, but those of handing over are counted here.
            let groups = [Group { adapter: Some(&adapters[0]), sequences: &all }];
            crew.pooled(model, &groups, &mut vectors);
        }
    };
    // Either thread may compute any block: after a few batches the caller has had the largest.
    (0..20).for_each(|_| batch());
    let before = counting::on_this_thread();
    batch();
    assert_eq!(counting::on_this_thread(), before);
    drop(Box::new(1));
    assert!(counting::on_this_thread() > before, "nothing is counted");
}

/// The system's allocator, which counts what each thread asks of it.
mod counting {
    use std::{
        alloc::{GlobalAlloc, Layout, System},
        cell::Cell,
    };

    thread_local! {
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn on_this_thread() -> u64 {
        ASKED.get()
    }

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    #[expect(unsafe_code, reason = "an allocator can only be counted by one that stands before it")]
    // SAFETY: every call goes to the system's allocator as it came.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ASKED.set(ASKED.get() + 1);
            // SAFETY: as the caller's.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            // SAFETY: as the caller's.
            unsafe { System.dealloc(at, layout) }
        }
    }
}
