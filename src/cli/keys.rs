//! `txcat keys`: makes, lists, rotates and revokes API keys.

use std::num::NonZeroU32;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::HumanCount;
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    access::{self, FreshKey, Holder, KeyLimits, KeyRequest, LOCAL, Rotation, Scope},
    clock,
    store::{Store, StoredKey},
};

/// Make, list, rotate and revoke API keys.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it, this once.
    Create {
        /// What to call it; no two keys share a name.
        #[arg(long, value_parser = name)]
        name: String,

        /// What its holder may do: ingest, read, review, batch or admin. Several: repeat, or separate with commas.
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,

        /// When it ends: a date such as 2027-01-31 (the end of that day, UTC) or a number of days such as 90d.
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,

        /// Requests a minute that it may make. [default: what `serve` says]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        requests_per_minute: Option<u32>,

        /// Rows that it may send a day (UTC), on all servers together. [default: as many as come]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rows_per_day: Option<u32>,
    },
    /// Put a new key in the place of one, with its name and rights, and print it, this once. Both open the same until the old one ends.
    Rotate {
        /// Its name, or the part of it that lists show.
        key: String,

        /// How long the old one goes on, so that its holder has time to change: a number of hours or days such as 12h or 7d; 0h
        /// ends it at once.
        #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = overlap)]
        overlap: TimeDelta,

        /// When the new one ends: a date such as 2027-01-31 (the end of that day, UTC) or a number of days such as 90d. [default:
        /// as long after now as the old one's end was after its making]
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// List every key there ever was, without the secrets.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Close a key at once, and for ever.
    Revoke {
        /// Its name, or the part of it that lists show.
        key: String,
    },
}

/// When a key ends, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// So long from now.
    After(TimeDelta),
    /// At the end of this day.
    Through(NaiveDate),
}

#[derive(Debug, thiserror::Error)]
#[error("must be a date such as 2027-01-31, or a number of days such as 90d")]
struct InvalidExpiry;

impl std::str::FromStr for Expiry {
    type Err = InvalidExpiry;

    fn from_str(text: &str) -> Result<Self, InvalidExpiry> {
        if let Some(days) = text.strip_suffix('d') {
            let days = days.parse().ok().filter(|days| (1..=36_500).contains(days)).ok_or(InvalidExpiry)?;
            return Ok(Self::After(TimeDelta::days(days)));
        }
        text.parse().map(Self::Through).map_err(|_| InvalidExpiry)
    }
}

impl Expiry {
    fn at(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::After(span) => now.checked_add_signed(span),
            Self::Through(day) => day.succ_opt()?.and_hms_opt(0, 0, 0).map(|end| end.and_utc()),
        }
    }
}

/// How long two keys open the same.
fn overlap(text: &str) -> Result<TimeDelta, &'static str> {
    let spans = [('h', 1), ('d', 24)];
    let hours =
        spans.iter().find_map(|(unit, hours)| Some(text.strip_suffix(*unit)?.parse::<u16>().ok()? as i64 * hours));
    let hours = hours.filter(|hours| *hours <= 24 * 366);
    hours.map(TimeDelta::hours).ok_or("must be a number of hours or days such as 12h or 7d, of a year at most")
}

/// The name of a key, or of the person who has it.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let shown = !text.trim().is_empty() && text.chars().count() <= 64 && !text.chars().any(char::is_control);
    if shown { Ok(text.to_owned()) } else { Err("must have 1 to 64 characters, none of them a control character") }
}

/// Does it.
///
/// # Errors
/// When the database can't be used, the name is taken, or there is no such key to revoke.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    with_store(settings, async |store| act(options.action, store).await).await
}

async fn act(action: Action, store: &Store) -> anyhow::Result<()> {
    let now = clock::now();
    match action {
        Action::Create { name, scopes, expires, requests_per_minute, rows_per_day } => {
            let limits = KeyLimits {
                requests_per_minute: requests_per_minute.and_then(NonZeroU32::new),
                rows_per_day: rows_per_day.and_then(NonZeroU32::new),
            };
            let expires_at = end(expires, now)?;
            let holder = Holder::Program(scopes);
            let request = KeyRequest { name, holder, expires_at, made_by: LOCAL.to_owned(), limits };
            let key = FreshKey::create(store, request, &mut access::random()?, now).await?;
            println!("{}", key.reveal());
            eprintln!("This key is shown once and can't be shown again. Send it as `Authorization: Bearer …`.");
        }
        Action::Rotate { key, overlap, expires } => {
            let rotation = Rotation { overlap, expires_at: end(expires, now)?, made_by: LOCAL.to_owned() };
            let rotated = FreshKey::rotate(store, &key, rotation, &mut access::random()?, now).await?;
            let (fresh, ends) = rotated.with_context(|| format!("there is no open key `{key}`"))?;
            println!("{}", fresh.reveal());
            eprintln!("This key is shown once and can't be shown again. The one before ends at {}.", ends.to_rfc3339());
        }
        Action::List { json } => {
            let keys = store.list_keys().await?;
            if json { print_json(&keys, now) } else { println!("{}", table(&keys, now)) }
        }
        Action::Revoke { key } => {
            anyhow::ensure!(store.revoke_key(&key, LOCAL, now).await?, "there is no open key `{key}`");
            println!("Revoked {key}.");
        }
    }
    Ok(())
}

fn end(expires: Option<Expiry>, now: DateTime<Utc>) -> anyhow::Result<Option<DateTime<Utc>>> {
    let Some(expiry) = expires else { return Ok(None) };
    let end = expiry.at(now).context("the key would end too far in the future")?;
    anyhow::ensure!(end > now, "the key would have ended already");
    Ok(Some(end))
}

/// Whether a key opens anything, and why it doesn't.
fn state(key: &StoredKey, now: DateTime<Utc>) -> &'static str {
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        (None, _) if key.successor.is_some() => "rotated out",
        (None, _) => "open",
    }
}

fn print_json(keys: &[StoredKey], now: DateTime<Utc>) {
    let told = |key: &StoredKey| {
        json!({
            "prefix": key.prefix,
            "name": key.name,
            "scopes": key.scopes,
            "role": key.role,
            "state": state(key, now),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
            "successor": key.successor,
            "requests_per_minute": key.requests_per_minute,
            "rows_per_day": key.rows_per_day,
        })
    };
    println!("{}", json!({ "keys": keys.iter().map(told).collect::<Vec<_>>() }));
}

fn table(keys: &[StoredKey], now: DateTime<Utc>) -> Table {
    let day = |time: DateTime<Utc>| time.format("%Y-%m-%d").to_string();
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["key", "name", "scopes", "limits", "made", "ends", "state"]);
    for key in keys {
        let state = state(key, now);
        let state = key.revoked_at.map_or_else(|| state.to_owned(), |at| format!("{state} {}", day(at)));
        table.add_row([
            format!("txcat_{}_…", key.prefix),
            key.name.clone(),
            key.scopes.join(", "),
            limits(key),
            day(key.created_at),
            key.expires_at.map_or_else(|| "never".to_owned(), day),
            state,
        ]);
    }
    table
}

/// What a key has of its own.
fn limits(key: &StoredKey) -> String {
    let requests =
        key.requests_per_minute.map(|most| format!("{} requests a minute", HumanCount(most.unsigned_abs().into())));
    let rows = key.rows_per_day.map(|most| format!("{} rows a day", HumanCount(most.unsigned_abs())));
    let own: Vec<String> = requests.into_iter().chain(rows).collect();
    if own.is_empty() { "default".to_owned() } else { own.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_after_days_or_with_a_day() {
        let now: DateTime<Utc> = "2026-11-24T10:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Expiry>().unwrap().at(now).unwrap().to_rfc3339();
        assert_eq!(at("90d"), "2027-02-22T10:00:00+00:00");
        assert_eq!(at("2027-01-31"), "2027-02-01T00:00:00+00:00");
        for text in ["", "d", "0d", "-3d", "soon", "2027-02-30"] {
            assert!(text.parse::<Expiry>().is_err(), "{text}");
        }
    }
}
