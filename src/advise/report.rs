//! Advice on one page: the same blocks as tables for a terminal and as Markdown. JSON is [`Advice`] itself.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{
    Advice,
    economics::{BreakEven, Weighed},
    evidence::Basis,
    findings::Finding,
    prompt_length::{Holds, PromptLength, lengths_of},
    questions::Said,
    words::{amounts, count, ends, months, percent, plain, points},
};

/// Characters of the widest table.
const WIDTH: u16 = 150;
const NOTHING: &str = "–";

/// One piece of the page.
enum Block {
    Heading(&'static str),
    Text(String),
    List(Vec<String>),
    Grid(Grid),
}

/// A table: its first column is words, the others numbers where `numbers` says so.
struct Grid {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    numbers: bool,
}

/// For a terminal.
#[must_use]
pub fn text(advice: &Advice) -> String {
    let mut page = String::new();
    for block in blocks(advice) {
        let text = match block {
            Block::Heading(heading) => format!("{heading}\n{}", "=".repeat(heading.chars().count())),
            Block::Text(text) => text,
            Block::List(items) => numbered(&items),
            Block::Grid(grid) => grid.table().to_string(),
        };
        page.push_str(text.trim_end());
        page.push_str("\n\n");
    }
    page.trim_end().to_owned()
}

/// For a page.
#[must_use]
pub fn markdown(advice: &Advice) -> String {
    let mut page = format!("# Advice: {}\n\n", advice.scenario);
    for block in blocks(advice) {
        let text = match block {
            Block::Heading(heading) => format!("## {heading}"),
            Block::Text(text) => text,
            Block::List(items) => numbered(&items),
            Block::Grid(grid) => grid.markdown(),
        };
        page.push_str(text.trim_end());
        page.push_str("\n\n");
    }
    page.trim_end().to_owned()
}

fn numbered(items: &[String]) -> String {
    let mut text = String::new();
    for (place, item) in items.iter().enumerate() {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{}. {item}", place + 1);
    }
    text
}

impl Grid {
    fn new(header: &[&str], numbers: bool) -> Self {
        Self { header: header.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new(), numbers }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(&self.header);
        // Evidence is sentences: they wrap, on a terminal and in a file alike.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        for row in &self.rows {
            table.add_row(row.iter().enumerate().map(|(place, text)| {
                let right = self.numbers && place > 0;
                Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
            }));
        }
        table
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = |place: usize| if self.numbers && place > 0 { "---:" } else { "---" };
        let rules: Vec<&str> = (0..self.header.len()).map(rule).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}| {} |\n{rows}", line(&self.header), rules.join(" | "))
    }
}

fn blocks(advice: &Advice) -> Vec<Block> {
    let volume = advice.transactions_per_month.map_or_else(|| "an unknown number of".to_owned(), count);
    let target = advice.target.map_or_else(
        || "no accuracy is named as wanted".to_owned(),
        |target| format!("wanted are {}", percent(target)),
    );
    let case = format!(
        "{}: {volume} transactions a month, {target}, an outlay must come back within {} months; amounts in {}, costs as of {}.",
        advice.scenario, advice.horizon_months, advice.currency, advice.as_of,
    );
    let steps = advice.verdict.steps.iter().map(|step| match &step.option {
        Some(option) => format!("`{option}`: {}", step.says),
        None => step.says.clone(),
    });
    let mut page = vec![Block::Text(case), Block::Text(advice.verdict.says.clone())];
    page.push(Block::List(steps.collect()));
    page.extend([Block::Heading("Six questions"), Block::Grid(questions(advice))]);
    if advice.today.is_some() {
        page.extend([Block::Heading("Options"), Block::Grid(options(advice))]);
        page.push(Block::Text(notes(advice)));
        let says = advice.options.iter().map(|option| format!("`{}`: {}.", option.name, option.says));
        page.push(Block::List(says.collect()));
    }
    if let Some(solved) = &advice.prompt_length {
        page.push(Block::Heading("Prompt length and payback"));
        page.push(Block::Text(solved.says.clone()));
        page.extend([Block::Grid(thresholds(solved)), Block::Grid(lengths(solved))]);
    }
    if !advice.sensitivity.is_empty() {
        page.extend([Block::Heading("What would change the decision"), Block::Grid(sensitivity(advice))]);
    }
    if !advice.asked.is_empty() {
        page.extend([Block::Heading("Asked"), Block::Grid(asked(advice))]);
    }
    page.retain(|block| !matches!(block, Block::List(items) if items.is_empty()));
    page
}

fn questions(advice: &Advice) -> Grid {
    let mut grid = Grid::new(&["question", "answer", "how known", "evidence"], false);
    for (place, given) in advice.questions.iter().enumerate() {
        let answer = match given.answer {
            Said::Yes => "yes",
            Said::No => "no",
            Said::Unknown => "not known",
        };
        let basis = match given.basis {
            Basis::Measured => "measured",
            Basis::Stated => "stated",
            Basis::Asked => "asked",
        };
        let stops = if given.stops { " – stops here" } else { "" };
        grid.rows.push(vec![
            format!("{}. {}", place + 1, given.asks),
            format!("{answer}{stops}"),
            basis.to_owned(),
            given.evidence.clone(),
        ]);
    }
    grid
}

/// Options side by side: a column each, today first.
fn options(advice: &Advice) -> Grid {
    let all: Vec<&Weighed> = advice.today.iter().chain(&advice.options).collect();
    let names = all.iter().map(|option| match option.finding {
        Finding::Today => format!("{} (today)", option.name),
        _ => option.name.clone(),
    });
    let mut grid =
        Grid { header: std::iter::once(String::new()).chain(names).collect(), rows: Vec::new(), numbers: true };
    let mut row = |what: &str, tell: &dyn Fn(&Weighed) -> Option<String>| {
        let cells = all.iter().map(|option| tell(option).unwrap_or_else(|| NOTHING.to_owned()));
        grid.rows.push(std::iter::once(what.to_owned()).chain(cells).collect());
    };
    row("right", &|option| Some(percent(option.accuracy.share)));
    row("how known", &|option| Some(basis(option)));
    row("points over today", &|option| (option.finding != Finding::Today).then(|| points(option.points)));
    row("reaches what is wanted", &|option| option.reaches_target.map(|yes| if yes { "yes" } else { "no" }.to_owned()));
    row("weeks", &|option| option.weeks.map(plain));
    row("once", &|option| option.one_off.map(amounts));
    row("a month", &|option| option.per_month.map(amounts));
    row("of that, upkeep", &|option| option.upkeep_per_month.map(amounts));
    row("trained again, months", &|option| option.retrain_every_months.map(|every| every.to_string()));
    row("saved a month", &|option| option.saving_per_month.map(amounts));
    row("payback, months, bills alone", &|option| option.payback.as_ref().map(months));
    row("payback with avoided errors", &|option| option.payback_with_errors.as_ref().map(months));
    row("more than today over the horizon", &|option| option.extra_over_horizon.map(amounts));
    row("that for each point", &|option| option.cost_per_point.map(amounts));
    row("wrong a month", &|option| option.errors_per_month.map(count));
    row("cost of these a month", &|option| option.errors_cost_per_month.map(amounts));
    row("pays from transactions a month on", &|option| option.break_even.as_ref().map(break_even));
    grid
}

/// `claimed`, or `measured` with interval and rows.
fn basis(option: &Weighed) -> String {
    let chosen = if option.accuracy.chosen_on { " on rows that chose it" } else { "" };
    match (option.accuracy.low, option.accuracy.high, option.accuracy.rows) {
        (Some(low), Some(high), Some(rows)) => {
            let (basis, rows) = (option.accuracy.basis, count(u64::from(rows)));
            format!("{basis}{chosen}, {} – {}, {rows} rows", percent(low), percent(high))
        }
        _ => option.accuracy.basis.to_owned(),
    }
}

fn break_even(volume: &BreakEven) -> String {
    let end = |volume: Option<u64>| volume.map_or_else(|| "none".to_owned(), count);
    ends(&end(volume.best), &end(volume.worst))
}

fn notes(advice: &Advice) -> String {
    let all = advice.today.iter().chain(&advice.options);
    let source = |option: &Weighed| {
        let engine = option.accuracy.engine.as_ref().map_or_else(String::new, |engine| format!(", engine {engine}"));
        format!("`{}`: {} by {}{engine}", option.name, option.accuracy.basis, option.accuracy.source)
    };
    let accuracies: Vec<String> = all.clone().map(source).collect();
    let outlay = |option: &Weighed| Some(format!("`{}`: {}", option.name, option.one_off_source.as_ref()?));
    let outlays: Vec<String> = all.filter_map(outlay).collect();
    let mut text = format!("Accuracy: {}.", accuracies.join("; "));
    if let Some(live) = &advice.live {
        let _ = write!(text, "\n\nLive: {}.", live.says);
    }
    if !outlays.is_empty() {
        let _ = write!(text, "\n\nOutlay: {}.", outlays.join("; "));
    }
    if let Some(source) = &advice.errors_source {
        let _ = write!(text, "\n\nCost of errors: {source}.");
    }
    text
}

fn holds(holds: Holds) -> String {
    match holds {
        Holds::Yes => "yes",
        Holds::Perhaps => "at the cheap end",
        Holds::No => "no",
    }
    .to_owned()
}

fn thresholds(solved: &PromptLength) -> Grid {
    let within = format!("prompt tokens for {} months", solved.payback_months);
    let mut grid = Grid::new(&["billed", "a million prompt tokens", &within], true);
    for threshold in &solved.thresholds {
        grid.rows.push(vec![
            threshold.billed.clone(),
            amounts(threshold.prompt_per_million),
            lengths_of(threshold.tokens),
        ]);
    }
    grid
}

fn lengths(solved: &PromptLength) -> Grid {
    let within = format!("within {} months", solved.payback_months);
    let mut grid = Grid::new(&["prompt tokens", "a month", "saved a month", "payback, months", &within], true);
    for length in &solved.lengths {
        let today = if length.is_today { " (today)" } else { "" };
        let tokens = lengths_of(super::range::Range::exact(length.tokens));
        grid.rows.push(vec![
            format!("{tokens}{today}"),
            amounts(length.per_month),
            amounts(length.saving_per_month),
            months(&length.payback),
            holds(length.holds),
        ]);
    }
    grid
}

fn sensitivity(advice: &Advice) -> Grid {
    let mut grid = Grid::new(&["what", "now", "changes at", "then"], false);
    for change in &advice.sensitivity {
        grid.rows.push(vec![
            change.what.clone(),
            change.now.clone(),
            change.changes_at.clone().unwrap_or_else(|| "nothing".to_owned()),
            change.then.map_or_else(|| "the same".to_owned(), |code| code.words().to_owned()),
        ]);
    }
    grid
}

fn asked(advice: &Advice) -> Grid {
    let mut grid = Grid::new(&["what", "flag or command", "member"], false);
    for ask in &advice.asked {
        grid.rows.push(vec![ask.what.clone(), ask.flag.to_owned(), ask.member.to_owned()]);
    }
    grid
}
