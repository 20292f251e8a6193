//! `txcat demo-data`: makes the demo data set again from its seed.

use std::path::PathBuf;

use crate::evaluate::demo;

/// Makes the demo data set again from its seed; see `eval/datasets/demo/README.md`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The seed; the shipped files are made with the default.
    #[arg(long, default_value_t = demo::SEED)]
    seed: u64,
    /// Where the files go.
    #[arg(long, value_name = "DIR", default_value = "eval/datasets/demo")]
    out: PathBuf,
    /// Write so many transactions into transactions.csv.gz instead, in the order of time: a stream to measure with.
    #[arg(long, value_name = "N")]
    transactions: Option<usize>,
}

/// Runs `txcat demo-data`.
///
/// # Errors
/// When a file can't be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(rows) = options.transactions {
        std::fs::create_dir_all(&options.out)?;
        let file = options.out.join("transactions.csv.gz");
        demo::write_transactions(options.seed, rows, &file)?;
        println!("{rows} transactions of seed {} in {}", options.seed, file.display());
        return Ok(());
    }
    demo::write(options.seed, &options.out)?;
    println!("demo data set of seed {} in {}", options.seed, options.out.display());
    Ok(())
}
