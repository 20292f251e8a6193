//! Numbers as people read them. Rounds for the eye alone; nothing computes with what is written here.

use rust_decimal::Decimal;

use super::{economics::Span, range::Range};

/// `3,000,000`.
#[must_use]
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4,200`, `1.40`, `0.08` or `0.0312`: whole from a hundred on, cents below, and below one what is more than cents.
#[must_use]
pub(super) fn amount(number: Decimal) -> String {
    let places = match number.abs() {
        size if size >= Decimal::ONE_HUNDRED || size.is_zero() => 0,
        size if size >= Decimal::ONE => 2,
        _ => 4,
    };
    let text = format!("{:.*}", places, number.round_dp(places as u32).abs());
    let (whole, cents) = text.split_once('.').unwrap_or((&text, ""));
    let cents = &cents[..cents.trim_end_matches('0').len().max(cents.len().min(2))];
    let dot = if cents.is_empty() { "" } else { "." };
    let sign = if number.is_sign_negative() && !number.is_zero() { "−" } else { "" };
    format!("{sign}{}{dot}{cents}", grouped(whole))
}

/// `70 – 1,000`, or one amount where both ends are the same.
#[must_use]
pub(super) fn amounts(range: Range) -> String {
    ends(&amount(range.low), &amount(range.high))
}

/// `87 %` or `87.5 %`.
#[must_use]
pub(super) fn percent(share: f64) -> String {
    format!("{} %", short(100.0 * share))
}

/// One decimal, and none where it is 0.
#[must_use]
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// `+5` or `−1.5`.
#[must_use]
pub(super) fn points(number: f64) -> String {
    let sign = if number < 0.0 { "−" } else { "+" };
    format!("{sign}{}", short(number.abs()))
}

/// `1.5 – 3.1`, `1.5 – never` or `never`.
#[must_use]
pub(super) fn months(span: &Span) -> String {
    let end = |months: Option<f64>| months.map_or_else(|| "never".to_owned(), |months| format!("{months:.1}"));
    ends(&end(span.best), &end(span.worst))
}

/// `comes back in 1.5 – 3.1 months`, or `never comes back`.
#[must_use]
pub(super) fn comes_back(span: &Span) -> String {
    match span {
        Span { best: None, worst: None, .. } => "never comes back".to_owned(),
        _ => format!("comes back in {} months", months(span)),
    }
}

/// `2 – 4`, or one number.
#[must_use]
pub(super) fn plain(range: Range) -> String {
    let end = |number: Decimal| number.round_dp(1).normalize().to_string();
    ends(&end(range.low), &end(range.high))
}

/// `2 – 4 weeks` or `1 week`.
#[must_use]
pub(super) fn weeks(range: Range) -> String {
    let number = plain(range);
    let many = if number == "1" { "" } else { "s" };
    format!("{number} week{many}")
}

/// Both ends, or one where they read the same.
#[must_use]
pub(super) fn ends(low: &str, high: &str) -> String {
    if low == high { low.to_owned() } else { format!("{low} – {high}") }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn numbers_are_written_for_the_eye() {
        assert_eq!((count(3_000_000), count(999), count(50_000)), ("3,000,000".into(), "999".into(), "50,000".into()));
        assert_eq!(
            [dec!(4200), dec!(-13800.4), dec!(1.4), dec!(0.03125), dec!(0.0014), dec!(0.08), dec!(0)].map(amount),
            ["4,200", "−13,800", "1.40", "0.0312", "0.0014", "0.08", "0"]
        );
        assert_eq!(
            [dec!(0.125), dec!(0.0722), dec!(0.4), dec!(0.005)].map(amount),
            ["0.125", "0.0722", "0.40", "0.005"]
        );
        assert_eq!(amounts(Range { low: dec!(70), high: dec!(1000) }), "70.00 – 1,000");
        assert_eq!((percent(0.87), percent(0.875), points(-1.0)), ("87 %".into(), "87.5 %".into(), "−1".into()));
        let span = Span { best: Some(1.5), likely: Some(2.0), worst: None };
        assert_eq!(months(&span), "1.5 – never");
        assert_eq!(comes_back(&span), "comes back in 1.5 – never months");
        assert_eq!(comes_back(&Span { best: None, likely: None, worst: None }), "never comes back");
    }
}
