//! A run's report as a page: Markdown for a repository, HTML in one file for a browser.

use minijinja::{
    Environment, context,
    syntax::SyntaxConfig,
    value::{Serde, Value},
};

use super::tracker::RunReport;

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
    let mut pages = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?;
    pages.set_syntax(syntax);
    pages.add_filter("percent", |share: Option<f64>| fixed(share.map(|share| 100.0 * share), 1));
    pages.add_filter("fixed", fixed);
    pages.add_filter("cell", |text: String| text.replace('|', "\\|"));
    // What is escaped is told by the ending.
    let (name, text) = match form {
        Form::Markdown => ("run.md", include_str!("page/run.md.j2")),
        Form::Html => ("run.html", include_str!("page/run.html.j2")),
    };
    pages.add_template(name, text)?;
    let report = Value::from(Serde(report));
    let (run, figures) = (report.get_attr("run")?, report.get_attr("figures")?);
    pages.get_template(name)?.render(context! { run, figures, report })
}

fn fixed(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.digits$}"))
}
