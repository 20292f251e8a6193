//! Runs in tables: what would change or has changed.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::HumanCount;
use serde::Serialize;

use crate::{
    domain::{ChangeState, RecategorizationPhase, Slug},
    recategorize::{
        self, Diff, Report,
        diff::Accuracy,
        report::{Answers, Migration},
    },
    store::{ChangeFilter, RecategorizationChange, Store},
};

/// Pairs of categories that a table shows.
const PAIRS: usize = 20;
/// Failed rows that are listed.
const FAILURES: usize = 20;

/// Shows a run: what would change or has changed, in numbers and row by row.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The run's number.
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// List so many of its rows too, oldest transaction first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub changes: u32,

    /// List rows that were of this category only.
    #[arg(long, value_name = "CATEGORY", requires = "changes")]
    pub from: Option<Slug>,

    /// List rows that become this category only.
    #[arg(long, value_name = "CATEGORY", requires = "changes")]
    pub to: Option<Slug>,

    /// List rows in this state only: proposed, skipped, applied, undone or kept.
    #[arg(long, value_name = "STATE", requires = "changes")]
    pub state: Option<ChangeState>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Written as they are: a value in between would make long numbers of short ones.
#[derive(Serialize)]
struct Shown {
    run: Report,
    changes: Vec<recategorize::report::Change>,
}

#[derive(Serialize)]
struct Listed {
    recategorizations: Vec<Report>,
}

impl Show {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let report = Report::of(store, self.run).await?;
        let filter = ChangeFilter { from: self.from, to: self.to, state: self.state };
        let changes = match self.changes {
            0 => Vec::new(),
            most => store.recategorization_changes(self.run, &filter, None, most).await?,
        };
        if self.json {
            let changes: Vec<_> = changes.into_iter().map(recategorize::report::Change::from).collect();
            println!("{}", serde_json::to_string(&Shown { run: report, changes })?);
            return Ok(());
        }
        print(&report, false)?;
        if !changes.is_empty() {
            println!("{}", rows(&changes));
        } else if self.changes > 0 {
            println!("no row is so");
        }
        Ok(())
    }
}

/// Lists runs, newest first.
#[derive(Debug, clap::Args)]
pub struct List {
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl List {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let reports = Report::list(store, None, self.limit).await?;
        if self.json {
            println!("{}", serde_json::to_string(&Listed { recategorizations: reports })?);
            return Ok(());
        }
        let mut table = table(&["run", "phase", "begun", "rows", "seen", "job", "changes", "failed", "by", "reason"]);
        for report in reports {
            table.add_row([
                Cell::new(report.id),
                Cell::new(if report.stopped.is_some() {
                    format!("{}, stopped", report.phase)
                } else {
                    report.phase.to_string()
                }),
                Cell::new(report.made_at.format("%Y-%m-%d %H:%M")),
                number(report.rows),
                number(report.seen),
                Cell::new(report.job.map_or("", |job| job.state.as_str())),
                number(report.changes.iter().map(|tally| tally.rows).sum()),
                number(report.failed),
                Cell::new(report.made_by),
                Cell::new(report.reason),
            ]);
        }
        println!("{table}");
        Ok(())
    }
}

/// A run with what it would change.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!("recategorization {} is {}: {}", report.id, report.phase, report.reason);
    println!("  {} of {} rows looked at with {}", count(report.seen), count(report.rows), report.engines.join(", "));
    let Answers { from_memory, from_store, computed, distinct_share } = report.answers;
    if let Some(share) = distinct_share {
        let (from_memory, from_store, computed) = (count(from_memory), count(from_store), count(computed));
        println!(
            "  answers: {computed} computed, {from_store} remembered in the database, {from_memory} in memory; {:.1} % of \
             the rows brought an input of their own",
            100.0 * share
        );
    }
    if let Some(job) = &report.job {
        let worker = job.worker.as_deref().map_or_else(String::new, |worker| format!(", {worker} is at it"));
        println!("  job {} is {} (begun {} times{worker})", job.id, job.state, job.attempts);
        if let Some(why) = &job.last_error {
            println!("  it failed the last time: {why}");
        }
    }
    if let Some(why) = &report.stopped {
        println!("  it went no further: {why}");
    }
    for tally in &report.changes {
        let why = tally.why.map_or_else(String::new, |why| format!(" ({why})"));
        println!("  {} rows {}{why}", count(tally.rows), tally.state);
    }
    for row in report.failures.iter().take(FAILURES) {
        println!("  failed: {} ({} tries): {}", row.transaction_id, row.tries, row.why);
    }
    if let Some(Migration { from, to, shadow, concluded_by, .. }) = &report.taxonomy {
        let now = match (shadow, concluded_by) {
            (true, _) => "answers tell both",
            (false, Some(_)) => "concluded",
            (false, None) => "not in force",
        };
        println!("  from taxonomy {from} to {to}: {now}");
    }
    if let Some(why) = &report.override_reason {
        println!("  guards were overridden: {why}");
    }
    if let Some(diff) = &report.diff {
        let kept = report.changes.iter().map(|tally| tally.rows).sum::<u64>().saturating_sub(diff.changed);
        if kept > 0 && report.taxonomy.is_some() {
            let kept = count(kept);
            println!(
                "  {kept} of these rows keep their category: only what a stage said beside a person's word is called \
                 otherwise"
            );
        }
        print_diff(diff, Tense::of(report.phase));
    }
    for refusal in &report.refusals {
        println!("  GUARD: {refusal}");
    }
    Ok(())
}

/// How a run's diff is told, by where the run stands.
#[derive(Clone, Copy)]
struct Tense {
    /// Of the rows that change.
    change: &'static str,
    /// Of the answers before it.
    before: &'static str,
}

impl Tense {
    fn of(phase: RecategorizationPhase) -> Self {
        match phase {
            RecategorizationPhase::Predicting | RecategorizationPhase::Previewed => {
                Self { change: "would change", before: "right now" }
            }
            RecategorizationPhase::Applying | RecategorizationPhase::Applied => {
                Self { change: "were to change", before: "right before" }
            }
            RecategorizationPhase::Undoing | RecategorizationPhase::Undone => {
                Self { change: "were to change, until it was undone", before: "right before" }
            }
            RecategorizationPhase::Cancelled => Self { change: "would have changed", before: "right before" },
        }
    }
}

fn print_diff(diff: &Diff, tense: Tense) {
    let share = 100.0 * diff.changed as f64 / diff.rows.max(1) as f64;
    let (rows, change) = (count(diff.changed), tense.change);
    println!("  {rows} rows {change} ({share:.1} % of the scope), on {} accounts", diff.accounts);
    let (people, rules) = (count(diff.people), count(diff.rules));
    match diff.renamed {
        None => println!("  {people} rows are people's word and {rules} an account rule's: they stay"),
        Some(renamed) => {
            println!(
                "  {} of them are renamed by the mapping, the others are of a category that is split",
                count(renamed)
            );
            println!("  {people} rows are people's word and {rules} a rule's: renamed, or waiting where it was split");
        }
    }
    if diff.failed > 0 {
        println!("  {} rows could not be answered and stay: `resume` tries them again", count(diff.failed));
    }
    for moved in &diff.money {
        println!("  {} {} on {} rows", moved.amount, moved.currency, count(moved.rows));
    }
    print_accuracy("by labels that nobody chose", diff.at_random, tense);
    print_accuracy("by all labels (people label what looks wrong, so these flatter)", diff.accuracy, tense);
    if diff.labels_seen > 0 {
        let seen = count(diff.labels_seen);
        println!(
            "  {seen} labels are in no figure: whoever answers has them at hand, and what it says of them proves nothing"
        );
    }
    if diff.pairs.is_empty() {
        return;
    }
    let mut pairs = table(&["from", "to", "rows", "such as"]);
    for pair in diff.pairs.iter().take(PAIRS) {
        let sample = diff.samples.iter().find(|sample| sample.from == pair.from && sample.to == pair.to);
        let sample = sample.map_or("", |sample| sample.descriptor.as_str());
        pairs.add_row([Cell::new(&pair.from), Cell::new(&pair.to), number(pair.rows), Cell::new(sample)]);
    }
    println!("{pairs}");
    if diff.pairs.len() > PAIRS {
        println!("and {} pairs more: --json has all", diff.pairs.len() - PAIRS);
    }
    let mut categories = table(&["category", "before", "after", "change"]);
    for of in diff.categories.iter().filter(|of| of.before != of.after) {
        let change = of.after as i128 - of.before as i128;
        let change = Cell::new(format!("{change:+}")).set_alignment(CellAlignment::Right);
        categories.add_row([Cell::new(&of.category), number(of.before), number(of.after), change]);
    }
    println!("{categories}");
}

fn print_accuracy(of: &str, accuracy: Option<Accuracy>, tense: Tense) {
    let Some(Accuracy { rows, before, after, difference, p }) = accuracy else { return };
    let p = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
    println!(
        "  {of} ({rows}): {:.1} % {}, {:.1} % after; {:+.1} points [{:+.1}, {:+.1}], {p}",
        100.0 * before.value,
        tense.before,
        100.0 * after.value,
        100.0 * difference.value,
        100.0 * difference.low,
        100.0 * difference.high,
    );
}

fn rows(changes: &[RecategorizationChange]) -> Table {
    let mut table = table(&["posted", "transaction", "descriptor", "amount", "from", "to", "sure", "state"]);
    for row in changes {
        let why = row.why.map_or_else(String::new, |why| format!(" ({why})"));
        table.add_row([
            Cell::new(row.posted_at.format("%Y-%m-%d")),
            Cell::new(&row.transaction_id),
            Cell::new(&row.descriptor),
            Cell::new(row.amount).set_alignment(CellAlignment::Right),
            Cell::new(&row.from),
            Cell::new(&row.to),
            Cell::new(format!("{:.2}", row.confidence)).set_alignment(CellAlignment::Right),
            Cell::new(format!("{}{why}", row.state)),
        ]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

fn number(value: u64) -> Cell {
    Cell::new(count(value)).set_alignment(CellAlignment::Right)
}

fn count(value: u64) -> String {
    HumanCount(value).to_string()
}
