//! `txcat eval sample-size`: how many rows to label before an accuracy can be claimed.

use anyhow::Context;

use crate::evaluate::metrics::rows_needed;

/// Tells how many rows, drawn at random, to label before an accuracy can be claimed: so many that the Wilson 95 %
/// interval's lower end reaches the claim, with the chance of --power.
///
/// Rows of one merchant are right or wrong together: drawn from traffic, they count for fewer than they are.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The accuracy to claim.
    #[arg(long, value_name = "SHARE")]
    pub claim: f64,

    /// The accuracy that you believe is true.
    #[arg(long, value_name = "SHARE")]
    pub truly: f64,

    /// The chance that the claim can be made.
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    pub power: f64,

    /// Print one JSON object instead of a sentence.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// When no number of rows would do.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let Options { claim, truly, power, json } = options;
    let needed = rows_needed(*claim, *truly, *power)
        .context("--claim, --truly and --power must be above 0 and below 1, and --truly above --claim")?;
    if *json {
        println!("{}", serde_json::to_string(&needed)?);
        return Ok(());
    }
    println!(
        "To show ≥ {:.1} % at 95 % when {:.1} % is true, label {} rows: with a chance of {:.0} %, {} of them or more are right.",
        100.0 * claim,
        100.0 * truly,
        needed.rows,
        100.0 * needed.power,
        needed.right
    );
    Ok(())
}
