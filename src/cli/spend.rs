//! `txcat spend`: what chat models took and cost, day by day.

use chrono::TimeDelta;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    clock,
    domain::money,
    llm::{ModelFile, pricing::Budget},
    store::DayOfCalls,
};

/// What chat models took and cost, day by day: calls, tokens and money, with what is reserved for calls under way, and
/// what is left of the model file's budget.
///
/// What 1,000 transactions cost is told of those that were answered: a row that was asked about twice, or in vain,
/// makes the others dearer.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many days back, today included.
    #[arg(long, value_name = "N", default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..=3_660))]
    pub days: u16,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A limit, and how much of it is used.
#[derive(Debug, Serialize)]
struct Used {
    period: &'static str,
    limit: Decimal,
    spent: Decimal,
}

/// Runs `txcat spend`.
///
/// # Errors
/// When the database fails, or the model file can't be read.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let Budget { currency, daily, monthly } = ModelFile::load(&settings.chat.file)?.budget;
    let today = clock::now().date_naive();
    let midnight = today.and_time(chrono::NaiveTime::MIN).and_utc();
    let since = midnight - TimeDelta::days(i64::from(options.days) - 1);
    let (days, (of_the_day, of_the_month)) = with_store(settings, async |store| {
        Ok((store.days_of_calls(since).await?, store.spent_on(today, &currency).await?))
    })
    .await?;
    let used: Vec<Used> = [("day", daily, of_the_day), ("month", monthly, of_the_month)]
        .into_iter()
        .filter_map(|(period, limit, spent)| Some(Used { period, limit: limit?, spent }))
        .collect();
    if options.json {
        println!("{}", json!({"days": days, "currency": currency, "budget": used}));
        return Ok(());
    }
    if days.is_empty() {
        println!("no chat model was asked in the last {} days", options.days);
    } else {
        println!("{}", table(&days));
    }
    for Used { period, limit, spent } in used {
        let (spent, limit) = (short(spent, &currency), money::told(limit, &currency));
        println!("{spent} of this {period}'s {limit} are spent or reserved");
    }
    Ok(())
}

fn short(amount: Decimal, currency: &str) -> String {
    money::told(amount.round_dp(4), currency)
}

fn table(days: &[DayOfCalls]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "day",
        "model",
        "calls",
        "failed",
        "rows",
        "answered",
        "prompt tokens",
        "of them kept",
        "answer tokens",
        "cost",
        "of 1,000",
    ]);
    for day in days {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let money = |amount: Decimal| match day.unpriced {
            0 => short(amount, &day.currency),
            _ => "no price".to_owned(),
        };
        let answered = day.answered_rows.unwrap_or(0);
        let each = (answered > 0).then(|| day.cost * Decimal::from(1_000) / Decimal::from(answered));
        table.add_row([
            Cell::new(day.day),
            Cell::new(&day.model),
            right(day.calls.to_string()),
            right(day.failed.to_string()),
            right(day.rows.to_string()),
            right(day.answered_rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string())),
            right(day.prompt_tokens.to_string()),
            right(day.cached_tokens.to_string()),
            right(day.completion_tokens.to_string()),
            right(money(day.cost)),
            right(each.map_or_else(|| "–".to_owned(), money)),
        ]);
    }
    table
}
