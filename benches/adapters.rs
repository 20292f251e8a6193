//! Rows a second of one adapter, merged and beside its base's weights, and of 64 in a mixed batch, in `f32` and in int8; and
//! what each takes in memory. Needs `txcat models pull`.
//!
//! The 64 are the shipped adapter with a little noise on its numbers: too little to change an answer, so
//! that its probes hold, and enough that each has numbers of its own. Merged it is an adapter that trained
//! every weight: such a one has a copy of the encoder to itself.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use txcat::{
    config::{
        self,
        Precision::{F32, Int8},
    },
    domain::Descriptor,
    model::{AdapterBank, AdapterInput, AdapterModel, BaseEncoder, Payment},
};

const ADAPTERS: usize = 64;
/// Rows in a batch.
const BATCHES: [usize; 3] = [256, 64, 32];
/// Of so many measurements the shortest counts.
const TIMES: usize = 5;
const PAIRS: &str = "adapter_model.safetensors";
const GAINS: &str = "encoder_gains.safetensors";
const OTHER: &str = "txcat.safetensors";

fn main() -> Result<()> {
    let encoder_dir = std::env::var_os("TXCAT_ENCODER_DIR").map(Into::into);
    let models = config::Models { dir: "models".into(), encoder: None, encoder_dir };
    let base = BaseEncoder::locate(&models)?;
    let weights = fs::read(base.dir.join("model.safetensors"))?;
    let runtime = Runtime::new()?;
    let rows = rows()?;
    for (precision, wide) in [(F32, false), (F32, true), (Int8, false), (Int8, true)] {
        let bank = AdapterBank::open(&base)?.in_precision(precision);
        let folders = tempfile::tempdir()?;
        let folder = |seed: usize| folders.path().join(seed.to_string());
        for seed in 0..ADAPTERS {
            let shipped = Shipped::read(wide)?;
            let pairs = noisy(&shipped.pairs, &mut ChaCha8Rng::seed_from_u64(seed as u64))?;
            shipped.write(&folder(seed), (PAIRS, pairs), "lora")?;
        }
        let shipped = Shipped::read(wide)?;
        let gains = merged(&weights, &shipped.pairs)?;
        shipped.write(&folder(ADAPTERS), (GAINS, gains), "full")?;

        let before = resident()?;
        let load = |seed: usize| bank.load(&folder(seed));
        let adapters: Vec<AdapterModel> = (0..ADAPTERS).map(load).collect::<Result<_, _>>()?;
        let each = (resident()? - before) / ADAPTERS as f64;
        let merged = load(ADAPTERS)?;
        let with = if wide { "with" } else { "without" };
        // What others have left is taken first: only the first of all took its memory from the system.
        let each = if precision == F32 { format!(": {each:.1} MB each") } else { String::new() };
        println!("{precision:?}, {ADAPTERS} adapters {with} the wide part{each}");
        for count in BATCHES {
            let batch = |adapters: &[AdapterModel]| -> Vec<(AdapterModel, AdapterInput)> {
                adapters.iter().cloned().cycle().zip(rows[..count].iter().cloned()).collect()
            };
            let batches = [batch(std::slice::from_ref(&merged)), batch(&adapters[..1]), batch(&adapters)];
            let best = shortest(&runtime, &bank, &batches)?;
            let [merged, one, mixed] = best.map(|took| count as f64 / took.as_secs_f64());
            println!(
                "  {count:3} rows: one merged {merged:.0} rows/s, one beside the base {one:.0} ({:.0} %), \
                 {ADAPTERS} mixed {mixed:.0} ({:.0} % of one, {:.0} % of merged)",
                100.0 * one / merged,
                100.0 * mixed / one,
                100.0 * mixed / merged,
            );
        }
    }
    Ok(())
}

/// The shortest time of each batch, measured in turns, so that a disturbance of the machine hits all alike.
fn shortest(
    runtime: &Runtime,
    bank: &AdapterBank,
    batches: &[Vec<(AdapterModel, AdapterInput)>; 3],
) -> Result<[Duration; 3]> {
    let mut best = [Duration::MAX; 3];
    for _ in 0..TIMES {
        for (best, batch) in best.iter_mut().zip(batches) {
            let batch = batch.clone();
            let start = Instant::now();
            runtime.block_on(bank.classify(batch))?;
            *best = start.elapsed().min(*best);
        }
    }
    Ok(best)
}

/// Texts of the demo set, about as long as enriched ones are, and no two the same: a text of a batch is read once.
fn rows() -> Result<Vec<AdapterInput>> {
    let pool = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo/pool.csv.gz");
    let mut rows = Vec::new();
    for (n, record) in
        csv::Reader::from_reader(GzDecoder::new(fs::File::open(pool)?)).records().take(BATCHES[0]).enumerate()
    {
        let record = record?;
        let mut row = AdapterInput::of_descriptor(&Descriptor::parse(&record[3])?);
        let amount: f32 = record[4].parse()?;
        row.payment = Some(Payment { amount, credit: false, weekend: false });
        row.text = format!("{}, paid {amount:.0} usd; {}, shop {n}", row.text, row.key);
        rows.push(row);
    }
    Ok(rows)
}

/// Megabytes of memory that the process has.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
}

/// The shipped adapter's files.
struct Shipped {
    facts: Value,
    config: Vec<u8>,
    pairs: Vec<u8>,
    other: Vec<u8>,
}

impl Shipped {
    /// Without the wide part where that isn't wanted.
    fn read(wide: bool) -> Result<Self> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adapters/demo");
        let read = |name: &str| fs::read(from.join(name));
        let mut facts: Value = serde_json::from_slice(&read("txcat.json")?)?;
        let mut other = read(OTHER)?;
        if !wide {
            let head = tensors(&other)?.into_iter().filter(|(name, _)| name.starts_with("head.")).collect();
            other = written(&head)?;
            let temperature = facts["fusion"]["encoder_temperature"].as_f64().context("no temperature")?;
            for probe in facts["probes"].as_array_mut().context("no probes")? {
                let logits: Vec<f64> = serde_json::from_value(probe["encoder_logits"].clone())?;
                let odds: Vec<f64> = logits.iter().map(|logit| (logit / temperature).exp()).collect();
                let total: f64 = odds.iter().sum();
                probe["probabilities"] = odds.into_iter().map(|odd| odd / total).collect::<Vec<f64>>().into();
            }
        }
        Ok(Self { facts, config: read("adapter_config.json")?, pairs: read(PAIRS)?, other })
    }

    /// Writes a folder with other numbers.
    fn write(mut self, to: &Path, (name, numbers): (&str, Vec<u8>), method: &str) -> Result<()> {
        fs::create_dir_all(to)?;
        for (name, bytes) in [("adapter_config.json", self.config), (OTHER, self.other), (name, numbers)] {
            self.facts["files"][name] = hex::encode(Sha256::digest(&bytes)).into();
            fs::write(to.join(name), bytes)?;
        }
        self.facts["training"]["method"] = method.into();
        Ok(fs::write(to.join("txcat.json"), self.facts.to_string())?)
    }
}

/// Element type, shape and bytes, by name.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn tensors(file: &[u8]) -> Result<Tensors> {
    let tensors = SafeTensors::deserialize(file)?;
    let owned = |(name, tensor): (&str, TensorView<'_>)| {
        (name.to_owned(), (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec()))
    };
    Ok(tensors.iter().map(owned).collect())
}

fn written(tensors: &Tensors) -> Result<Vec<u8>> {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// Every number at most a ten-thousandth off.
fn noisy(pairs: &[u8], rng: &mut ChaCha8Rng) -> Result<Vec<u8>> {
    let mut tensors = tensors(pairs)?;
    for number in tensors.values_mut().flat_map(|(_, _, data)| data.as_chunks_mut().0) {
        *number = (f32::from_le_bytes(*number) * (1.0 + rng.random_range(-1e-4..1e-4))).to_le_bytes();
    }
    written(&tensors)
}

/// What every weight of the encoder gains through the pairs.
fn merged(encoder: &[u8], pairs: &[u8]) -> Result<Vec<u8>> {
    const SCALE: f32 = 2.0;
    const WORDS: &str = "embeddings.word_embeddings.weight";
    let pairs = tensors(pairs)?;
    let floats =
        |data: &[u8]| -> Vec<f32> { data.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect() };
    let mut gains = Tensors::new();
    for (name, (_, shape, data)) in tensors(encoder)?.into_iter().filter(|(_, (dtype, ..))| *dtype == Dtype::F32) {
        let mut of = vec![0.0f32; data.len() / 4];
        let module = format!("base_model.model.{}", name.trim_end_matches(".weight"));
        if let (Some((_, a_shape, a)), Some((_, _, b))) =
            (pairs.get(&format!("{module}.lora_A.weight")), pairs.get(&format!("{module}.lora_B.weight")))
        {
            let (a, b) = (floats(a), floats(b));
            let [rank, inputs] = a_shape[..] else { continue };
            for (out, b) in of.chunks_exact_mut(inputs).zip(b.chunks_exact(rank)) {
                for (a, b) in a.chunks_exact(inputs).zip(b) {
                    out.iter_mut().zip(a).for_each(|(out, a)| *out += SCALE * a * b);
                }
            }
        }
        let bytes = of.iter().flat_map(|gain| f16::from_f32(*gain).to_le_bytes()).collect();
        gains.insert(name, (Dtype::F16, shape, bytes));
    }
    let hidden = gains[WORDS].1[1];
    gains.insert(WORDS.to_owned(), (Dtype::F16, vec![0, hidden], Vec::new()));
    gains.insert(format!("{WORDS}.rows"), (Dtype::U32, vec![0], Vec::new()));
    written(&gains)
}
