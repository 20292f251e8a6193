//! The audit log as rows: each record as it was written, with its hash. Triggers write them, in the database transaction of what
//! they tell of; only a refused sign-in (`oidc.rs`), which no row tells of, is written at once. `access` checks the chain.

use super::{Error, Store};

/// One record, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place, from 1 and without a gap.
    pub seq: i64,
    /// The canonical record: a JSON object, byte by byte as it was hashed.
    pub record: String,
    /// SHA-256 over the hash of the row before and the record.
    pub hash: Vec<u8>,
}

impl Store {
    /// Records after a place, in their order, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_rows(&self, after: i64, limit: u32) -> Result<Vec<AuditRow>, Error> {
        let rows = sqlx::query_as!(
            AuditRow,
            "select
                seq,
                record,
                hash
            from audit_log
            where seq > $1
            order by seq
            limit $2",
            after,
            i64::from(limit),
        );
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// The latest records, newest first, at most `limit`: those of an actor, those whose act begins so, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_audit_rows(
        &self,
        actor: Option<&str>,
        act: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Error> {
        let rows = sqlx::query_as!(
            AuditRow,
            "select
                seq,
                record,
                hash
            from audit_log
            where ($1::text is null or record::jsonb ->> 'actor' = $1)
            and ($2::text is null or starts_with(record::jsonb ->> 'act', $2))
            order by seq desc
            limit $3",
            actor,
            act,
            i64::from(limit),
        );
        Ok(rows.fetch_all(&self.pool).await?)
    }
}
