//! `txcat bench train`: one pass of training, as others can be asked for it.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{Settings, memory, models},
    model::{
        Method,
        bench::Pass,
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
    #[arg(long, default_value_t = LoraOptions::default().rank)]
    pub rank: usize,

    /// Which linear layers have one: all six, or query and value.
    #[arg(long, value_enum, default_value_t)]
    pub targets: Targets,

    /// Rows to read.
    #[arg(long, default_value_t = 4_000)]
    pub rows: usize,

    /// Rows in one step.
    #[arg(long, default_value_t = 32)]
    pub batch: usize,

    /// Learning rate. [default: the method's]
    #[arg(long)]
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
    /// Megabytes of 2²⁰ bytes; absent where the system doesn't say.
    peak_mb: Option<u64>,
}

impl Train {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let (texts, classes) = self.read()?;
        ensure!(!texts.is_empty() && self.batch > 0, "there is nothing to time");
        let base = models::pull(settings, None).await?;
        let options = self.train_options();
        let rows = texts.len();
        let Pass { took, tokens, trainable, last_loss } =
            tokio::task::spawn_blocking(move || Pass::timed(&base, (&texts, &classes), &options)).await??;
        let seconds = took.as_secs_f64();
        let timed = Timed {
            engine: "txcat",
            method: self.method,
            rank: self.rank,
            targets: self.targets,
            bf16: false,
            rows,
            samples_per_s: rows as f64 / seconds,
            seconds,
            tokens_mean: tokens as f64 / rows as f64,
            trainable,
            last_loss,
            peak_mb: memory::peak().map(|bytes| bytes >> 20),
        };
        println!("{}", serde_json::to_string(&timed)?);
        Ok(())
    }

    /// Texts, and their categories as places among the names in order.
    fn read(&self) -> anyhow::Result<(Vec<String>, Vec<usize>)> {
        let wrong = || format!("can't read {}", self.data.display());
        let mut reader = csv::Reader::from_path(&self.data).with_context(wrong)?;
        let rows: Vec<Row> = reader.deserialize().take(self.rows).collect::<Result<_, _>>().with_context(wrong)?;
        let names: BTreeSet<&str> = rows.iter().map(|row| row.category.as_str()).collect();
        let place = |row: &Row| names.iter().take_while(|name| **name < row.category.as_str()).count();
        let classes = rows.iter().map(place).collect();
        let text = |row: Row| row.text.or(row.descriptor).context("no column is `text` or `descriptor`");
        Ok((rows.into_iter().map(text).collect::<anyhow::Result<_>>().with_context(wrong)?, classes))
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
            ..of_method
        }
    }
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
        for wrong in ["txcat bench", "txcat bench train", "txcat bench --texts t train --data d"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_are_read_in_order_and_classes_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("rows.csv");
        std::fs::write(&data, "id,descriptor,category\n1,B,shop\n2,A,fuel\n3,C,shop\n4,D,rent\n").unwrap();
        let words = format!("txcat bench train --rows 3 --data {}", data.display());
        let Some(Action::Train(train)) = parsed(&words).unwrap().action else { panic!("no training") };
        let (texts, classes) = train.read().unwrap();
        assert_eq!((texts, classes), (["B", "A", "C"].map(str::to_owned).to_vec(), vec![1, 0, 1]));
    }
}
