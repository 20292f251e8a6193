//! The audit log's chain: whether each record follows the one before. Triggers in Postgres write it.
//!
//! A chain alone can't tell that its end was cut off: whoever keeps a [`Head`] elsewhere can.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::AuditRow;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// Its place, from 1.
    pub seq: i64,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// Who: a key's name, `local` for the command line, or `database:USER` for whoever changed rows by hand.
    pub actor: String,
    /// What was done, such as `key.revoked`.
    pub act: String,
    /// To what, such as `key:0a1b2c3d4e5f`.
    pub subject: String,
    /// What else there is to say.
    pub detail: serde_json::Value,
}

/// Where a chain ends: a place and the hash there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last place; 0 where nothing was written.
    pub seq: i64,
    /// The hash there.
    pub hash: [u8; 32],
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex::encode(self.hash))
    }
}

/// Text that is no head.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be a place and a hash, such as 12:9f86d081…")]
pub struct InvalidHead;

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let (seq, hash) = text.split_once(':').ok_or(InvalidHead)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or(InvalidHead)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).map_err(|_| InvalidHead)?;
        Ok(Self { seq, hash: bytes })
    }
}

/// Why a chain is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Records are missing, or stand twice.
    #[error("record {found} stands where {expected} should")]
    Gap {
        /// The place that comes next.
        expected: i64,
        /// The place that stands there.
        found: i64,
    },
    /// The record or one before it is not the one that was written.
    #[error("record {seq} was changed: its hash is another")]
    Changed {
        /// Which.
        seq: i64,
    },
    /// The record can't be read, or names another place.
    #[error("record {seq} is no record of this place")]
    Unreadable {
        /// Which.
        seq: i64,
    },
    /// The chain ends before the head that was kept elsewhere.
    #[error("the log ends at {end}, before the record {seq} that is known")]
    CutOff {
        /// The known place.
        seq: i64,
        /// The last place there is.
        end: i64,
    },
}

/// A chain, followed record by record.
#[derive(Debug, Clone)]
pub struct Chain {
    head: Head,
    known: Option<Head>,
}

impl Chain {
    /// At the beginning. Where a head is known, the chain must pass it.
    #[must_use]
    pub fn new(known: Option<Head>) -> Self {
        Self { head: Head { seq: 0, hash: [0; 32] }, known }
    }

    /// Where it has come.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Takes the next record, and returns what it says.
    ///
    /// # Errors
    /// When it does not follow.
    pub fn follow(&mut self, row: &AuditRow) -> Result<Act, Broken> {
        let seq = row.seq;
        if seq != self.head.seq + 1 {
            return Err(Broken::Gap { expected: self.head.seq + 1, found: seq });
        }
        let hash: [u8; 32] = Sha256::new().chain_update(self.head.hash).chain_update(&row.record).finalize().into();
        let other = self.known.is_some_and(|known| known.seq == seq && known.hash != hash);
        if row.hash != hash || other {
            return Err(Broken::Changed { seq });
        }
        let act: Act = serde_json::from_str(&row.record).map_err(|_| Broken::Unreadable { seq })?;
        if act.seq != seq {
            return Err(Broken::Unreadable { seq });
        }
        self.head = Head { seq, hash };
        Ok(act)
    }

    /// Ends the chain.
    ///
    /// # Errors
    /// When it ends before the head that is known.
    pub fn end(self) -> Result<Head, Broken> {
        match self.known {
            Some(known) if known.seq > self.head.seq => Err(Broken::CutOff { seq: known.seq, end: self.head.seq }),
            _ => Ok(self.head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: i64) -> Vec<AuditRow> {
        let mut hash = [0; 32];
        let row = |seq| {
            let record = serde_json::json!({
                "seq": seq, "at": "2026-01-01T00:00:00Z", "actor": "a", "act": "key.made", "subject": "key:1", "detail": {},
            });
            let record = record.to_string();
            hash = Sha256::new().chain_update(hash).chain_update(&record).finalize().into();
            AuditRow { seq, record, hash: hash.to_vec() }
        };
        (1..=n).map(row).collect()
    }

    fn checked(rows: &[AuditRow], known: Option<Head>) -> Result<Head, Broken> {
        let mut chain = Chain::new(known);
        for row in rows {
            chain.follow(row)?;
        }
        chain.end()
    }

    #[test]
    fn a_chain_is_whole_or_says_where_it_is_not() {
        let good = rows(4);
        let head = checked(&good, None).unwrap();
        assert_eq!(head.to_string().parse(), Ok(head));
        assert_eq!(checked(&good, Some(head)), Ok(head));
        assert_eq!(checked(&good[..3], Some(head)), Err(Broken::CutOff { seq: 4, end: 3 }));
        assert_eq!(checked(&good[1..], None), Err(Broken::Gap { expected: 1, found: 2 }));
        let mut changed = good.clone();
        changed[1].record = changed[1].record.replace("key.made", "key.gone");
        assert_eq!(checked(&changed, None), Err(Broken::Changed { seq: 2 }));
        // Whoever writes all hashes anew is told apart by a head that was kept.
        let mut anew = rows(4);
        anew[3].record = anew[3].record.replace("\"a\"", "\"b\"");
        anew[3].hash = Sha256::new().chain_update(&anew[2].hash).chain_update(&anew[3].record).finalize().to_vec();
        assert!(checked(&anew, None).is_ok());
        assert_eq!(checked(&anew, Some(head)), Err(Broken::Changed { seq: 4 }));
    }

    #[test]
    fn a_head_is_a_place_and_a_hash() {
        for text in ["", "1", "0:00", "x:00", "1:zz", "-1:00"] {
            assert_eq!(text.parse::<Head>(), Err(InvalidHead), "{text}");
        }
    }
}
