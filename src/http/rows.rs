//! The rows of `POST /v1/transactions`, parsed one by one.
//!
//! A row is never deserialized as a whole: each member is taken from its raw JSON text, so that a
//! refusal names the exact member, and an amount reaches [`Decimal`] without passing through a float.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::codes;
use crate::domain::{
    Currency, Descriptor, Money, Transaction, TransactionId,
    descriptor::InvalidDescriptor,
    instant,
    money::{InvalidMoney, UnknownCurrency},
    transaction::{Channel, FIELDS, InvalidText, Status},
};

/// One row as the caller writes it. Only documentation: [`parse`] reads the members itself, and a
/// test holds the two together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
pub(super) struct NewTransaction {
    /// Your own identifier, unique in this deployment.
    #[schema(min_length = 1, max_length = 128, example = "tx-1001")]
    id: String,
    /// The account or card it is on.
    #[schema(min_length = 1, max_length = 128, example = "acc-7")]
    account_id: String,
    /// RFC 3339 with an offset, or a date (midnight UTC).
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$", example = "2026-03-14T09:26:53Z")]
    posted_at: String,
    /// Exact and not negative: a decimal as a string, or a JSON number. At most 4 decimals.
    amount: Amount,
    /// ISO 4217.
    #[schema(min_length = 3, max_length = 3, example = "USD")]
    currency: String,
    /// Seen from the account.
    #[schema(schema_with = codes::direction)]
    direction: String,
    /// The statement text.
    #[schema(min_length = 1, max_length = 1024, example = "SQ *BLUE BOTTLE 0412 OAKLAND CA")]
    descriptor: String,
    /// ISO 18245.
    #[schema(pattern = "^[0-9]{4}$", example = "5814")]
    mcc: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$", example = "US")]
    country: Option<String>,
    /// How it was made.
    #[schema(schema_with = codes::channel, required = false)]
    channel: Option<String>,
    /// The other side of a transfer.
    #[schema(min_length = 1, max_length = 140)]
    counterparty: Option<String>,
    /// Where the feed has got to with the row; `posted` unless said.
    #[schema(schema_with = codes::status, required = false)]
    status: Option<String>,
    /// The pending row that this posted one succeeds.
    #[schema(min_length = 1, max_length = 128)]
    replaces: Option<String>,
}

/// A decimal as a string, or a JSON number.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(example = "6.50")]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
enum Amount {
    Text(String),
    Number(f64),
}

/// Why one row is refused, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedRow {
    /// The row's id, where that much could be read.
    pub(super) id: Option<TransactionId>,
    /// The member at fault; `None` for the row as a whole.
    pub(super) member: Option<String>,
    /// What is wrong with it.
    pub(super) reason: Reason,
}

/// What is wrong with a member.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Reason {
    #[error("must be an object")]
    NotAnObject,
    #[error("is missing")]
    Missing,
    #[error("is not a member of a transaction")]
    Unknown,
    #[error("stands twice")]
    Twice,
    #[error("must be a string")]
    NotText,
    #[error("must be a decimal such as \"12.50\", as a string or a number")]
    NotDecimal,
    #[error("must be a date (2026-03-14) or an RFC 3339 time with an offset (2026-03-14T09:26:53Z)")]
    NotInstant,
    #[error("must be an earlier transaction, not this one")]
    ReplacesItself,
    #[error("stands only on a posted transaction")]
    PendingReplaces,
    #[error(transparent)]
    Text(#[from] InvalidText),
    #[error(transparent)]
    Currency(#[from] UnknownCurrency),
    #[error(transparent)]
    Money(#[from] InvalidMoney),
    #[error(transparent)]
    Descriptor(#[from] InvalidDescriptor),
}

/// Parses one row.
///
/// # Errors
/// Names the first member at fault, in the order of the documentation.
pub(super) fn parse(raw: &RawValue) -> Result<Transaction, RefusedRow> {
    let refused = |member: Option<&str>, reason| RefusedRow { id: None, member: member.map(str::to_owned), reason };
    let Ok(members) = serde_json::from_str::<Members<'_>>(raw.get()) else {
        return Err(refused(None, Reason::NotAnObject));
    };
    members.transaction().map_err(|(member, reason)| RefusedRow {
        id: members.required("id", text_as::<TransactionId>).ok(),
        ..refused(Some(&member), reason)
    })
}

/// An object's members in order, each still JSON text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

type Refusal = (String, Reason);

impl Members<'_> {
    fn transaction(&self) -> Result<Transaction, Refusal> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            if !FIELDS.contains(&name.as_str()) {
                return Err((name.clone(), Reason::Unknown));
            }
            if self.0.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err((name.clone(), Reason::Twice));
            }
        }
        let id = self.required("id", text_as::<TransactionId>)?;
        let account_id = self.required("account_id", text_as)?;
        let posted_at = self.required("posted_at", |raw| instant(&text(raw)?).map_err(|_| Reason::NotInstant))?;
        let amount = self.required("amount", decimal)?;
        let currency = self.required("currency", text_as::<Currency>)?;
        let amount = Money::new(amount, currency).map_err(|reason| ("amount".to_owned(), reason.into()))?;
        let direction = self.required("direction", text_as)?;
        let descriptor = self.required("descriptor", |raw| Ok(Descriptor::parse(&text(raw)?)?))?;
        let mcc = self.optional("mcc", text_as)?;
        let country = self.optional("country", text_as)?;
        let channel = self.optional("channel", text_as::<Channel>)?;
        let counterparty = self.optional("counterparty", text_as)?;
        let status = self.optional("status", text_as::<Status>)?.unwrap_or_default();
        let replaces = self.optional("replaces", text_as::<TransactionId>)?;
        if replaces.as_ref() == Some(&id) {
            return Err(("replaces".to_owned(), Reason::ReplacesItself));
        }
        if replaces.is_some() && status == Status::Pending {
            return Err(("replaces".to_owned(), Reason::PendingReplaces));
        }
        Ok(Transaction {
            id,
            account_id,
            posted_at,
            amount,
            direction,
            descriptor,
            mcc,
            country,
            channel,
            counterparty,
            status,
            replaces,
        })
    }

    fn required<T>(&self, name: &str, read: impl FnOnce(&RawValue) -> Result<T, Reason>) -> Result<T, Refusal> {
        self.optional(name, read)?.ok_or_else(|| (name.to_owned(), Reason::Missing))
    }

    /// A `null` counts as absent.
    fn optional<T>(&self, name: &str, read: impl FnOnce(&RawValue) -> Result<T, Reason>) -> Result<Option<T>, Refusal> {
        let found = self.0.iter().find(|(member, raw)| member == name && raw.get() != "null");
        found.map(|(_, raw)| read(raw).map_err(|reason| (name.to_owned(), reason))).transpose()
    }
}

fn text(raw: &RawValue) -> Result<String, Reason> {
    serde_json::from_str(raw.get()).map_err(|_| Reason::NotText)
}

fn text_as<T: FromStr>(raw: &RawValue) -> Result<T, Reason>
where
    Reason: From<T::Err>,
{
    Ok(text(raw)?.parse()?)
}

/// The decimal that the digits say: `0.1` is one tenth, not the float next to it.
fn decimal(raw: &RawValue) -> Result<Decimal, Reason> {
    let quoted = raw.get().starts_with('"');
    let digits = if quoted { text(raw)? } else { raw.get().to_owned() };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    let read = if plain {
        Decimal::from_str_exact(&digits)
    } else if quoted {
        return Err(Reason::NotDecimal);
    } else {
        Decimal::from_scientific(&digits)
    };
    read.map_err(|_| Reason::NotDecimal)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::with_capacity(FIELDS.len());
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;

    fn row(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Result<Transaction, RefusedRow> {
        let mut row = json!({
            "id": "t1", "account_id": "a1", "posted_at": "2026-03-14", "amount": "12.50", "currency": "EUR",
            "direction": "debit", "descriptor": "SQ *BLUE BOTTLE 0412 OAKLAND CA",
        });
        change(row.as_object_mut().unwrap());
        parse_text(&row.to_string())
    }

    fn parse_text(text: &str) -> Result<Transaction, RefusedRow> {
        parse(&serde_json::from_str::<Box<RawValue>>(text).unwrap())
    }

    fn amount(digits: &str) -> Result<Decimal, Reason> {
        decimal(&serde_json::from_str::<Box<RawValue>>(digits).unwrap())
    }

    #[test]
    fn amounts_keep_every_digit() {
        for (text, exact) in [
            ("0.1", dec!(0.1)),
            ("\"0.1\"", dec!(0.1)),
            ("12345678901.23", dec!(12345678901.23)),
            ("\"12345678901.2345\"", dec!(12345678901.2345)),
            ("999999999999.9999", dec!(999999999999.9999)),
            ("1e2", dec!(100)),
            ("15E-1", dec!(1.5)),
            ("-0", dec!(0)),
        ] {
            assert_eq!(amount(text), Ok(exact), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["\"1,50\"", "\"1e2\"", "\"\"", "\"1_000\"", "\"+1\"", "\" 1\"", "\"NaN\"", "true", "[1]", "1e999"]
        {
            assert_eq!(amount(text), Err(Reason::NotDecimal), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_member() {
        let member = |result: Result<Transaction, RefusedRow>| {
            let refused = result.unwrap_err();
            (refused.member.unwrap(), refused.reason)
        };
        assert_eq!(member(row(|row| drop(row.remove("currency")))), ("currency".into(), Reason::Missing));
        assert_eq!(member(row(|row| drop(row.insert("mcc".into(), json!(5814))))), ("mcc".into(), Reason::NotText));
        assert_eq!(member(row(|row| drop(row.insert("tag".into(), json!(1))))), ("tag".into(), Reason::Unknown));
        assert_eq!(
            member(row(|row| drop(row.insert("amount".into(), json!(-1))))),
            ("amount".into(), Reason::Money(InvalidMoney::Negative))
        );
        assert_eq!(
            member(row(|row| drop(row.insert("replaces".into(), json!("t1"))))),
            ("replaces".into(), Reason::ReplacesItself)
        );
        assert_eq!(member(parse_text(r#"{"id": "a", "id": "b"}"#)), ("id".into(), Reason::Twice));
        assert_eq!(parse_text("[]").unwrap_err().reason, Reason::NotAnObject);
    }

    #[test]
    fn a_refused_row_keeps_its_id_where_it_has_one() {
        assert_eq!(row(|row| drop(row.remove("amount"))).unwrap_err().id.unwrap().as_str(), "t1");
        assert_eq!(row(|row| drop(row.insert("id".into(), json!("")))).unwrap_err().id, None);
    }

    #[test]
    fn null_is_absent() {
        assert_eq!(row(|row| drop(row.insert("mcc".into(), Value::Null))).unwrap().mcc, None);
    }

    #[test]
    fn the_documented_members_are_the_ones_that_are_read() {
        let schema = serde_json::to_value(NewTransaction::schema()).unwrap();
        let documented: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let mut read = FIELDS.to_vec();
        read.sort_unstable();
        let mut sorted = documented.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, read);
    }
}
