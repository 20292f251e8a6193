//! `txcat retention`: drops rows that are older than a deployment keeps them.

use std::{num::NonZeroU16, path::PathBuf};

use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    access::LOCAL,
    clock, http,
    privacy::{Kept, Retention},
    store::{self, Store},
};

/// Drop rows that are older than a file says they are kept, table by table. Run it once a day (cron, a Kubernetes `CronJob`).
///
/// The file is TOML, days (at least 1) by table: transactions (with all that was said of them), events, `model_calls`, `shadow_predictions`,
/// `eval_items`, `key_usage`. A table that it does not name is kept for ever, and so is the audit log; events alone go after 90 days
/// where it says nothing else, and one that an endpoint has not taken stays until it has. Answers that are kept for idempotency keys go
/// after a day, whatever it says.
#[derive(Debug, Args)]
pub struct Options {
    /// The file.
    #[arg(long = "keep", env = "TXCAT_RETENTION", value_name = "FILE")]
    pub keep: PathBuf,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

async fn apply(retention: &Retention, store: &Store) -> Result<Vec<Kept>, store::Error> {
    let now = clock::now();
    let mut kept = retention.apply(store, LOCAL, now).await?;
    // How long these count is no deployment's to say; `serve` drops them too, as long as it runs.
    let dropped = store.drop_idempotent_answers(now - http::ANSWERS_KEPT).await?;
    let days = u16::try_from(http::ANSWERS_KEPT.num_days()).ok().and_then(NonZeroU16::new);
    kept.push(Kept { table: "idempotent_answers", days, dropped });
    Ok(kept)
}

/// Runs `txcat retention`.
///
/// # Errors
/// When the file says not how long, or the database fails.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let retention = Retention::load(&options.keep)?;
    let kept = with_store(settings, async |store| Ok(apply(&retention, store).await?)).await?;
    if options.json {
        let told = |kept: &Kept| json!({ "table": kept.table, "days": kept.days, "dropped": kept.dropped });
        println!("{}", json!({ "tables": kept.iter().map(told).collect::<Vec<_>>() }));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["table", "kept", "dropped"]);
    for Kept { table: name, days, dropped } in kept {
        let days = days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
        table.add_row([Cell::new(name), Cell::new(days), Cell::new(dropped).set_alignment(CellAlignment::Right)]);
    }
    println!("{table}");
    Ok(())
}
