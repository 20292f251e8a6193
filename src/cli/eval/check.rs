//! `txcat eval check`: has a stage fallen?

use std::path::PathBuf;

use anyhow::ensure;
use comfy_table::Cell;

use crate::{
    evaluate::{
        report::{interval, or_nothing, p_value, percent, right, table},
        thresholds::{self, Thresholds},
    },
    store::Store,
};

/// Fails, with an exit code that is not 0, where the latest run of a stage has fallen: below a floor, or below a run that
/// was stored before, and by more than chance explains.
///
/// Chance is drawn by whole merchants, and all checks of the file are corrected together: where nothing fell, the file calls
/// a fall in at most `level` (0.025) of all cases. Run `txcat eval` first; what is checked is what it stored.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The file that says what must hold.
    #[arg(long, value_name = "FILE", default_value = "eval/thresholds.toml")]
    pub thresholds: PathBuf,

    /// Print one JSON array instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a stage has fallen, was never measured, or the file or the database can't be used.
pub(super) async fn run(options: &Options, store: &Store) -> anyhow::Result<()> {
    let Thresholds { level, checks } = Thresholds::load(&options.thresholds)?;
    ensure!(!checks.is_empty(), "{} has no [[check]]", options.thresholds.display());
    let mut checked = Vec::new();
    for check in checks {
        let evidence = thresholds::evidence(store, &check).await?;
        checked.push((check, evidence));
    }
    let verdicts = tokio::task::block_in_place(|| thresholds::judge(level, &checked, thresholds::DRAWS));
    if options.json {
        println!("{}", serde_json::to_string(&verdicts)?);
    } else {
        let mut table = table(&[
            "stage",
            "file",
            "run",
            "accuracy",
            "95 % interval",
            "floor",
            "p",
            "baseline",
            "difference",
            "p",
            "verdict",
        ]);
        for verdict in &verdicts {
            table.add_row([
                Cell::new(&verdict.stage),
                Cell::new(format!("{}/{}", verdict.data_set, verdict.file)),
                right(verdict.run.to_string()),
                right(or_nothing(verdict.accuracy, |accuracy| percent(accuracy.share))),
                right(or_nothing(verdict.accuracy, |accuracy| interval(accuracy.low, accuracy.high))),
                right(or_nothing(verdict.floor, percent)),
                right(or_nothing(verdict.floor_p, p_value)),
                right(or_nothing(verdict.baseline, |run| format!("run {run}"))),
                right(or_nothing(verdict.difference, |difference| format!("{:+.2}", 100.0 * difference))),
                right(or_nothing(verdict.baseline_p, p_value)),
                Cell::new(if verdict.fallen { "fallen" } else { "holds" }),
            ]);
        }
        println!("{table}");
    }
    let fallen = verdicts.iter().filter(|verdict| verdict.fallen).count();
    ensure!(fallen == 0, "{fallen} of {} checks failed", verdicts.len());
    Ok(())
}
