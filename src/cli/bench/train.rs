//! `txcat bench train`: one pass of training, as others can be asked for it.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Serialize};

use crate::{
    cli::{Settings, memory, models, service::positive},
    evaluate::metrics::{Share, wilson},
    model::{
        Method,
        bench::{Pass, Texts},
        lora::{LoraOptions, TARGETS, Target},
        train::TrainOptions,
    },
};

/// Times one pass of training over the rows of a file, in their order, and prints one line of JSON.
///
/// It does what a plain training loop elsewhere does, so that the two can be compared: no dropout, no text disturbed, no wide
/// part, no weights of rows or categories, no smoothing, no clipping, one rate for all that never moves. Reading the
/// encoder and cutting into tokens are outside the clock. `RAYON_NUM_THREADS` says on how many threads.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// A CSV file with the columns `text` (or `descriptor`) and `category`.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,

    /// What trains.
    #[arg(long, value_enum, default_value_t)]
    pub method: Method,

    /// Of the low-rank difference; its scale is 2.
    #[arg(long, default_value_t = LoraOptions::default().rank, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    pub rank: usize,

    /// Which linear layers have one: all six, or query and value.
    #[arg(long, value_enum, default_value_t)]
    pub targets: Targets,

    /// Rows to read.
    #[arg(long, default_value_t = 4_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub rows: usize,

    /// Such a file of other rows, answered after the pass and outside the clock.
    #[arg(long, value_name = "FILE")]
    pub dev: Option<PathBuf>,

    /// Rows in one step.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub batch: usize,

    /// Multiply with the frozen weights in bf16; only LoRA leaves any frozen.
    #[arg(long)]
    pub bf16: bool,

    /// Learning rate. [default: the method's]
    #[arg(long, value_parser = positive)]
    pub learning_rate: Option<f32>,
}

/// Linear layers of the encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Targets {
    /// All six.
    #[default]
    All,
    /// Query and value.
    Qv,
}

#[derive(Deserialize)]
struct Row {
    text: Option<String>,
    descriptor: Option<String>,
    category: String,
}

/// What it took.
#[derive(Serialize)]
struct Timed {
    engine: &'static str,
    method: Method,
    rank: usize,
    targets: Targets,
    bf16: bool,
    rows: usize,
    samples_per_s: f64,
    seconds: f64,
    tokens_mean: f64,
    trainable: usize,
    last_loss: f32,
    /// What is right of `--dev`, with its 95 % Wilson interval.
    dev: Option<Share>,
    /// Megabytes of 2²⁰ bytes; absent where the system doesn't say.
    peak_mb: Option<u64>,
}

impl Train {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let read = read(&self.data, self.rows)?;
        let of_dev = self.dev.as_deref().map(|path| self::read(path, usize::MAX)).transpose()?.unwrap_or_default();
        let names: BTreeSet<String> = read.iter().map(|(_, category)| category.clone()).collect();
        let (rows, dev_rows) = (read.len(), of_dev.len());
        let (texts, dev) = (placed(read, &names), placed(of_dev, &names));
        let base = models::pull(settings, None).await?;
        let options = self.train_options();
        let trained = tokio::task::spawn_blocking(move || {
            let (pass, trained) = Pass::timed(&base, &texts, &options)?;
            // Answering other rows is no part of training.
            let peak = memory::peak();
            anyhow::Ok((pass, peak, trained.right(&dev)?))
        });
        let (Pass { took, tokens, trainable, last_loss }, peak, right) = trained.await??;
        let seconds = took.as_secs_f64();
        let timed = Timed {
            engine: "txcat",
            method: self.method,
            rank: self.rank,
            targets: self.targets,
            bf16: self.bf16,
            rows,
            samples_per_s: rows as f64 / seconds,
            seconds,
            tokens_mean: tokens as f64 / rows as f64,
            trainable,
            last_loss,
            dev: wilson(right, dev_rows),
            peak_mb: peak.map(|bytes| bytes >> 20),
        };
        println!("{}", serde_json::to_string(&timed)?);
        Ok(())
    }

    fn train_options(&self) -> TrainOptions {
        let of_method = TrainOptions::of(self.method);
        let targets = match self.targets {
            Targets::All => TARGETS.to_vec(),
            Targets::Qv => vec![Target::Query, Target::Value],
        };
        let learning_rate = self.learning_rate.unwrap_or(of_method.learning_rate);
        TrainOptions {
            lora: LoraOptions { rank: self.rank, alpha: 2.0 * self.rank as f32, dropout: 0.0, targets },
            batch: self.batch,
            learning_rate,
            head_learning_rate: learning_rate,
            clip: f32::INFINITY,
            smoothing: 0.0,
            disturb: (0.0, 0.0),
            wide: None,
            bf16: self.bf16,
            ..of_method
        }
    }
}

/// Texts and categories of a file's first rows.
fn read(path: &Path, most: usize) -> anyhow::Result<Vec<(String, String)>> {
    let wrong = || format!("can't read {}", path.display());
    ensure!(path.is_file(), "{} is no file", path.display());
    ensure!(path.extension().is_none_or(|end| end != "gz"), "{} is compressed: unpack it first", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(wrong)?;
    let rows: Vec<Row> = reader.deserialize().take(most).collect::<Result<_, _>>().with_context(wrong)?;
    ensure!(!rows.is_empty(), "{} has no rows", path.display());
    let row = |(at, Row { text, descriptor, category })| {
        let at = at + 1;
        ensure!(!category.is_empty(), "row {at} has no `category`");
        Ok((text.or(descriptor).with_context(|| format!("row {at} has no `text` and no `descriptor`"))?, category))
    };
    rows.into_iter().enumerate().map(row).collect::<anyhow::Result<_>>().with_context(wrong)
}

/// Categories by their places among the names; one that is not among them has a place that no answer has.
fn placed(rows: Vec<(String, String)>, names: &BTreeSet<String>) -> Texts {
    let places: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
    let place = |category: &str| places.get(category).copied().unwrap_or(names.len());
    let (texts, classes) = rows.into_iter().map(|(text, category)| (text, place(&category))).unzip();
    Texts { texts, classes }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, bench::Action};

    fn parsed(words: &str) -> Result<crate::cli::bench::Options, clap::Error> {
        match Cli::try_parse_from(words.split(' '))?.command {
            Command::Bench(options) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn computing_is_the_command_itself_and_training_a_subcommand() {
        assert_eq!(parsed("txcat bench --texts t --batch 8").unwrap().forward.unwrap().batch, 8);
        let Some(Action::Train(train)) = parsed("txcat bench train --data d --targets qv --rank 8").unwrap().action
        else {
            panic!("no training")
        };
        let options = train.train_options();
        assert_eq!(options.lora.targets, [Target::Query, Target::Value]);
        assert_eq!((options.lora.alpha, options.lora.dropout, options.batch), (16.0, 0.0, 32));
        let bf16 = parsed("txcat bench train --data d --bf16").unwrap().action;
        assert!(matches!(bf16, Some(Action::Train(train)) if train.train_options().bf16) && !options.bf16);
        for wrong in ["txcat bench", "txcat bench train", "txcat bench --texts t train --data d"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_are_read_in_order_and_classes_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("rows.csv");
        std::fs::write(&data, "id,descriptor,category\n1,B,shop\n2,A,fuel\n3,C,shop\n4,D,rent\n").unwrap();
        let rows = read(&data, 3).unwrap();
        let names = rows.iter().map(|(_, category)| category.clone()).collect();
        let texts = |wanted: &[&str]| wanted.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(placed(rows, &names), Texts { texts: texts(&["B", "A", "C"]), classes: vec![1, 0, 1] });
        let unknown = placed(read(&data, 4).unwrap(), &names);
        assert_eq!(unknown.classes, [1, 0, 1, 2], "a category that nothing learns");
        for (text, said) in
            [("text,category\n", "has no rows"), ("text,category\nA,rent\nB,\n", "row 2 has no `category`")]
        {
            std::fs::write(&data, text).unwrap();
            let error = format!("{:#}", read(&data, 9).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
