//! A bank transaction as the caller told it, checked once at the edge.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Descriptor, Money};

/// What a caller tells of a transaction, by the names of JSON members and file columns; the first
/// [`REQUIRED`] are never left out.
pub const FIELDS: [&str; 13] = [
    "id",
    "account_id",
    "posted_at",
    "amount",
    "currency",
    "direction",
    "descriptor",
    "mcc",
    "country",
    "channel",
    "counterparty",
    "status",
    "replaces",
];

/// How many of [`FIELDS`] every transaction has.
pub const REQUIRED: usize = 7;

/// Why an identifier or code is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidText {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// Longer than the field allows.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The limit, in characters.
        max: usize,
    },
    /// A control character, or the NUL that Postgres can't store.
    #[error("must not contain control characters")]
    Control,
    /// Not of the field's form.
    #[error("must be {form}")]
    Form {
        /// The form, such as `four digits`.
        form: &'static str,
    },
}

fn checked(text: &str, max: usize) -> Result<&str, InvalidText> {
    if text.trim().is_empty() {
        return Err(InvalidText::Empty);
    }
    if text.chars().count() > max {
        return Err(InvalidText::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidText::Control);
    }
    Ok(text)
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                let check: fn(&str) -> Result<&str, InvalidText> = $check;
                check(text).map(|text| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// The caller's own identifier of a transaction: 1–128 characters, unique in one deployment.
    TransactionId,
    |text| checked(text, 128)
);
text_newtype!(
    /// The account (or card) the transaction is on: 1–128 characters.
    AccountId,
    |text| checked(text, 128)
);
text_newtype!(
    /// An ISO 18245 merchant category code: four digits.
    Mcc,
    |text| if text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(InvalidText::Form { form: "four digits" })
    }
);
text_newtype!(
    /// An ISO 3166-1 alpha-2 country code, in capitals.
    Country,
    |text| if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(text)
    } else {
        Err(InvalidText::Form { form: "two capital letters (ISO 3166-1)" })
    }
);
text_newtype!(
    /// The other side of a transfer, as the bank names it: 1–140 characters.
    Counterparty,
    |text| checked(text, 140)
);

/// Which way the money went, seen from the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Out of the account.
    Debit,
    /// Into the account.
    Credit,
}

/// How the transaction was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A card at a terminal.
    CardPresent,
    /// A card on the web, by phone or on file.
    CardNotPresent,
    /// A credit transfer.
    Transfer,
    /// A direct debit.
    DirectDebit,
    /// A standing order.
    StandingOrder,
    /// Cash at a machine or a counter.
    Cash,
    /// A cheque.
    Cheque,
    /// The bank's own booking: interest, a fee.
    Bank,
}

/// Where the bank's feed has got to with this row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Authorized, not booked: amount and text may still change.
    Pending,
    /// Booked.
    #[default]
    Posted,
}

macro_rules! code_enum {
    ($name:ident { $($variant:ident = $code:literal),+ $(,)? }, $form:literal) => {
        impl $name {
            /// All of them.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$variant),+];

            /// The code used in JSON, SQL and files.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                match text {
                    $($code => Ok(Self::$variant),)+
                    _ => Err(InvalidText::Form { form: $form }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use code_enum;

code_enum!(Direction { Debit = "debit", Credit = "credit" }, "debit or credit");
code_enum!(Status { Pending = "pending", Posted = "posted" }, "pending or posted");
code_enum!(
    Channel {
        CardPresent = "card_present",
        CardNotPresent = "card_not_present",
        Transfer = "transfer",
        DirectDebit = "direct_debit",
        StandingOrder = "standing_order",
        Cash = "cash",
        Cheque = "cheque",
        Bank = "bank",
    },
    "card_present, card_not_present, transfer, direct_debit, standing_order, cash, cheque or bank"
);

/// One row of an account's statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// The caller's identifier.
    pub id: TransactionId,
    /// The account it is on.
    pub account_id: AccountId,
    /// When it was booked (or authorized, while pending).
    pub posted_at: DateTime<Utc>,
    /// How much.
    pub amount: Money,
    /// Which way.
    pub direction: Direction,
    /// The statement text, raw and parsed.
    pub descriptor: Descriptor,
    /// The card network's category code, where the feed has it.
    pub mcc: Option<Mcc>,
    /// Where it happened.
    pub country: Option<Country>,
    /// How it was made.
    pub channel: Option<Channel>,
    /// Who is on the other side, where the feed says so.
    pub counterparty: Option<Counterparty>,
    /// Pending or posted.
    pub status: Status,
    /// The pending row that this one succeeds.
    pub replaces: Option<TransactionId>,
}

impl Transaction {
    /// A posted one, of which nothing is told but what every transaction has.
    #[must_use]
    pub fn posted(
        id: TransactionId,
        account_id: AccountId,
        posted_at: DateTime<Utc>,
        amount: Money,
        direction: Direction,
        descriptor: Descriptor,
    ) -> Self {
        Self {
            id,
            account_id,
            posted_at,
            amount,
            direction,
            descriptor,
            mcc: None,
            country: None,
            channel: None,
            counterparty: None,
            status: Status::Posted,
            replaces: None,
        }
    }
}
