//! The check for personal data in statement texts: what must not be learned by heart.
//!
//! A finding never repeats what it found.

use super::{
    report::{Check, Flag, Level},
    rows::share,
    set::LabelledSet,
};
use crate::domain::pii::{Kind, kinds};

/// Numbers of cards and accounts, and addresses, are nobody's merchant: such rows are kept out.
fn is_sure(kind: Kind) -> bool {
    matches!(kind, Kind::Card | Kind::Iban | Kind::Email)
}

/// `pii`: rows with personal data in the statement text.
#[must_use]
pub fn pii(set: &LabelledSet) -> Check {
    let mut counts = Kind::ALL.map(|kind| (kind, 0));
    let mut flags = Vec::new();
    for (place, example) in set.examples.iter().enumerate() {
        let descriptor = &example.transaction.descriptor;
        let mut kinds = kinds(descriptor.raw());
        // The descriptor's own parser knows some more.
        if descriptor.phone().is_some() && !kinds.contains(&Kind::Phone) {
            kinds.push(Kind::Phone);
        }
        counts.iter_mut().filter(|(kind, _)| kinds.contains(kind)).for_each(|(_, count)| *count += 1);
        if !kinds.is_empty() {
            let says: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            let flag = Flag::of(set, place, says.join(", "));
            flags.push(if kinds.iter().any(|kind| is_sure(*kind)) { flag.quarantine() } else { flag });
        }
    }
    // What is acted on first.
    flags.sort_by_key(|flag| (!flag.quarantined, flag.place));
    let of = |wanted: fn(Kind) -> bool| counts.iter().any(|(kind, count)| *count > 0 && wanted(*kind));
    let level = match () {
        () if of(|kind| matches!(kind, Kind::Card | Kind::Iban)) => Level::Block,
        () if of(|kind| kind == Kind::Email) => Level::Warn,
        () if !flags.is_empty() => Level::Info,
        () => Level::Pass,
    };
    let says: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{} {count}", kind.as_str()))
        .collect();
    let says =
        if says.is_empty() { "no personal data found".to_owned() } else { format!("rows with {}", says.join(", ")) };
    let share = share(flags.len(), set.examples.len());
    let check = Check::new("pii", level, says).value("share_of_rows", share).flags(flags);
    counts.into_iter().fold(check, |check, (kind, count)| check.value(kind.as_str(), f64::from(count)))
}
