//! A run's report as a page: Markdown for a repository, HTML in one file for a browser. Runs side by side are Markdown.

use minijinja::{
    Environment, context,
    syntax::SyntaxConfig,
    value::{Serde, Value},
};

use super::{
    paired::holm,
    report,
    tracker::{Compared, RunReport, Slice},
};
use crate::domain::money;

/// What stands where there is no figure.
const NOTHING: &str = "–";

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Markdown.
    Markdown,
    /// HTML that fetches nothing from elsewhere.
    Html,
}

/// Renders a report.
///
/// # Errors
/// Never in a build whose tests pass: a test renders both forms.
pub fn render(report: &RunReport, form: Form) -> Result<String, minijinja::Error> {
    // What is escaped is told by the ending.
    let (name, text) = match form {
        Form::Markdown => ("run.md", include_str!("page/run.md.j2")),
        Form::Html => ("run.html", include_str!("page/run.html.j2")),
    };
    let cost = report.figures.cost.zip(report.run.currency.as_deref()).map(|(cost, of)| money::told(cost, of));
    let report = Value::from(Serde(report));
    let (run, figures) = (report.get_attr("run")?, report.get_attr("figures")?);
    filled(name, text, context! { run, figures, report, cost })
}

/// Renders runs on the same rows side by side, with every pair of them, as Markdown. `notes` are put before the figures, as
/// they are.
///
/// # Errors
/// As [`render`].
pub fn comparison(runs: &[RunReport], pairs: &[Compared], notes: &[String]) -> Result<String, minijinja::Error> {
    let slices: Vec<Vec<&Slice>> = runs.first().map_or_else(Vec::new, |first| {
        let of = |slice: &Slice, run: &'_ RunReport| {
            run.slices.iter().position(|other| (&other.slice, &other.value) == (&slice.slice, &slice.value))
        };
        let row = |slice| runs.iter().map(|run| Some(&run.slices[of(slice, run)?])).collect();
        first.slices.iter().filter_map(row).collect()
    });
    let p_holm = holm(&pairs.iter().map(|pair| pair.all.p).collect::<Vec<_>>());
    let (runs, pairs) = (Value::from(Serde(runs)), Value::from(Serde(pairs)));
    let (slices, notes) = (Value::from(Serde(slices)), Value::from(Serde(notes)));
    filled("compare.md", include_str!("page/compare.md.j2"), context! { runs, pairs, slices, p_holm, notes })
}

fn filled(name: &str, text: &str, values: Value) -> Result<String, minijinja::Error> {
    let mut pages = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?;
    pages.set_syntax(syntax);
    pages.add_filter("percent", |share: Option<f64>| fixed(share.map(|share| 100.0 * share), 1));
    pages.add_filter("points", |share: f64| format!("{:+.2}", 100.0 * share));
    pages.add_filter("p", report::p_value);
    pages.add_filter("fixed", fixed);
    pages.add_filter("cell", |text: String| text.replace('|', "\\|"));
    pages.render_named_str(name, text, values)
}

fn fixed(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.digits$}"))
}
