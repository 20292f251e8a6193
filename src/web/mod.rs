//! What the pages look like: templates, charts, one stylesheet and small scripts, all inside this binary.
//!
//! It knows no route and no database: `http::pages` asks, and gives what is to be shown.

pub mod chart;

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use minijinja::{AutoEscape, Environment, Value, syntax::SyntaxConfig, value::Serde};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::domain::money::told;

/// Every template, by the name that pages extend or include it under.
const TEMPLATES: [(&str, &str); 22] = [
    ("accuracy.html", include_str!("templates/accuracy.html")),
    ("adapters.html", include_str!("templates/adapters.html")),
    ("advice.html", include_str!("templates/advice.html")),
    ("base.html", include_str!("templates/base.html")),
    ("datasets.html", include_str!("templates/datasets.html")),
    ("detail.html", include_str!("templates/detail.html")),
    ("fresh.html", include_str!("templates/fresh.html")),
    ("jobs.html", include_str!("templates/jobs.html")),
    ("merchant.html", include_str!("templates/merchant.html")),
    ("merchants.html", include_str!("templates/merchants.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("life.html", include_str!("templates/life.html")),
    ("preview.html", include_str!("templates/preview.html")),
    ("recategorization.html", include_str!("templates/recategorization.html")),
    ("problem.html", include_str!("templates/problem.html")),
    ("refused.html", include_str!("templates/refused.html")),
    ("review.html", include_str!("templates/review.html")),
    ("rows.html", include_str!("templates/rows.html")),
    ("second.html", include_str!("templates/second.html")),
    ("sign_in.html", include_str!("templates/sign_in.html")),
    ("signed_in.html", include_str!("templates/signed_in.html")),
    ("transactions.html", include_str!("templates/transactions.html")),
];

/// What pages load: name, media type, content.
pub const ASSETS: [(&str, &str, &str); 12] = [
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("api.js", "text/javascript; charset=utf-8", include_str!("assets/api.js")),
    ("categories.js", "text/javascript; charset=utf-8", include_str!("assets/categories.js")),
    ("keys.js", "text/javascript; charset=utf-8", include_str!("assets/keys.js")),
    ("review.js", "text/javascript; charset=utf-8", include_str!("assets/review.js")),
    ("said.js", "text/javascript; charset=utf-8", include_str!("assets/said.js")),
    ("views.js", "text/javascript; charset=utf-8", include_str!("assets/views.js")),
    ("trail.js", "text/javascript; charset=utf-8", include_str!("assets/trail.js")),
    ("merchant.js", "text/javascript; charset=utf-8", include_str!("assets/merchant.js")),
    ("second.js", "text/javascript; charset=utf-8", include_str!("assets/second.js")),
    ("jobs.js", "text/javascript; charset=utf-8", include_str!("assets/jobs.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Why a page could not be made. A build whose tests pass has no such page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A template is broken.
    #[error("the templates can't be read")]
    Templates(#[source] &'static minijinja::Error),
    /// A template and what it was given don't fit.
    #[error("the page {name} can't be filled in")]
    Fill {
        /// Which page.
        name: &'static str,
        /// Where and why.
        #[source]
        source: minijinja::Error,
    },
    /// A chart can't be drawn.
    #[error("the chart can't be drawn")]
    Chart,
}

static PAGES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    pages.add_filter("percent", percent);
    pages.add_filter("words", |slug: String| slug.replace('_', " "));
    pages.add_filter("segment", |text: String| segment(&text));
    pages.add_filter("whole", whole);
    pages.add_filter("money", money);
    pages.add_filter("marked", |text: String| Value::from_safe_string(marked(&text)));
    pages.add_filter("fixed", |number: f64, digits: usize| minus(format!("{number:.digits$}")));
    pages.add_filter("signed", |number: f64, digits: usize| minus(format!("{number:+.digits$}")));
    pages.add_filter("day", |time: String| instant(&time, "%Y-%m-%d"));
    pages.add_filter("minute", |time: String| instant(&time, "%Y-%m-%d %H:%M"));
    for (name, text) in TEMPLATES {
        pages.add_template(name, text)?;
    }
    Ok(pages)
});

/// Fills a page in.
///
/// # Errors
/// When a template is broken, or wants what it was not given.
pub fn render(name: &'static str, with: impl Serialize) -> Result<String, Error> {
    let pages = PAGES.as_ref().map_err(Error::Templates)?;
    let fill = |source| Error::Fill { name, source };
    pages.get_template(name).map_err(fill)?.render(Value::from(Serde(with))).map_err(fill)
}

/// A share as a percentage with one decimal; a dash where there is none.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// An amount with the digits of its currency, to a hundredth of a cent at most: `1.40 USD`.
fn money(amount: &str, currency: &str) -> String {
    let told = |amount: Decimal| told(amount.round_dp(4), currency);
    amount.parse().map_or_else(|_| format!("{amount} {currency}"), told)
}

/// A text as one step of a path.
fn segment(text: &str) -> String {
    let mut step = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.') {
            step.push(char::from(byte));
        } else {
            step.push_str(&format!("%{byte:02X}"));
        }
    }
    step
}

/// A text in which what stands between backquotes is code.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(place, part)| {
        let part = chart::escaped(part);
        if place % 2 == 1 { format!("<code>{part}</code>") } else { part }
    });
    parts.collect()
}

/// A number with the sign that is as wide as a plus.
fn minus(number: String) -> String {
    if number.starts_with('-') { number.replacen('-', "−", 1) } else { number }
}

/// A count with commas between thousands, as reports have them.
fn whole(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    if number < 0 {
        text.push('−');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time as people read it, in UTC; the text itself where it is no time.
fn instant(text: &str, form: &str) -> String {
    text.parse::<DateTime<Utc>>().map_or_else(|_| text.to_owned(), |time| time.format(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(whole(1_234_567), "1,234,567");
        assert_eq!((whole(0), whole(-1_000)), ("0".to_owned(), "−1,000".to_owned()));
        assert_eq!((money("1.4", "USD"), money("0.00128", "USD")), ("1.40 USD".to_owned(), "0.0013 USD".to_owned()));
        assert_eq!((percent(Some(0.8764)), percent(None)), ("87.6 %".to_owned(), "–".to_owned()));
        assert_eq!((minus("-6.5".to_owned()), minus("+6.5".to_owned())), ("−6.5".to_owned(), "+6.5".to_owned()));
    }

    #[test]
    fn a_step_of_a_path_has_no_border_in_it() {
        assert_eq!(segment("a/b ü?#.-_"), "a%2Fb%20%C3%BC%3F%23.-_");
    }

    #[test]
    fn code_in_a_text_is_marked_and_nothing_else_becomes_markup() {
        assert_eq!(marked("ask `txcat <x>` & see"), "ask <code>txcat &lt;x&gt;</code> &amp; see");
    }

    #[test]
    fn every_template_can_be_read() {
        assert!(PAGES.is_ok(), "{:?}", PAGES.as_ref().err());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_stands_inline() {
        for (name, text) in TEMPLATES {
            for bad in ["http://", "https://", "src=\"//", " style=\"", "<style", "onclick=", "onload=", "javascript:"]
            {
                assert!(!text.contains(bad), "{name}: {bad}");
            }
            assert!(!text.contains("<script>"), "{name}: a script stands in the page");
        }
    }
}
