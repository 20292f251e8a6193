//! `txcat spend`: what chat models took and cost, day by day.

use chrono::TimeDelta;
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Settings, service::Opened};
use crate::{clock, store::DayOfCalls};

/// What chat models took and cost, day by day: calls, tokens and money, with what is reserved for calls under way.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many days back, today included.
    #[arg(long, value_name = "N", default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..=3_660))]
    pub days: u16,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Runs `txcat spend`.
///
/// # Errors
/// When the database fails.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let opened = Opened::new(settings).await?;
    let midnight = clock::now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let days = opened.store.days_of_calls(midnight - TimeDelta::days(i64::from(options.days) - 1)).await;
    opened.close().await?;
    let days = days?;
    if options.json {
        println!("{}", json!({"days": days}));
    } else if days.is_empty() {
        println!("no chat model was asked in the last {} days", options.days);
    } else {
        println!("{}", table(&days));
    }
    Ok(())
}

fn table(days: &[DayOfCalls]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
        "day",
        "model",
        "calls",
        "without answer",
        "transactions",
        "prompt tokens",
        "of them kept",
        "answer tokens",
        "cost",
        "of 1,000 transactions",
    ]);
    for day in days {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let money = |amount: rust_decimal::Decimal| format!("{} {}", amount.round_dp(4).normalize(), day.currency);
        let each = day.cost * rust_decimal::Decimal::from(1_000) / rust_decimal::Decimal::from(day.rows.max(1));
        table.add_row([
            Cell::new(day.day),
            Cell::new(&day.model),
            right(day.calls.to_string()),
            right(day.failed.to_string()),
            right(day.rows.to_string()),
            right(day.prompt_tokens.to_string()),
            right(day.cached_tokens.to_string()),
            right(day.completion_tokens.to_string()),
            right(money(day.cost)),
            right(money(each)),
        ]);
    }
    table
}
