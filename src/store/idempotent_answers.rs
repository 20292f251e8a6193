//! What was answered to requests that carry an idempotency key. What a key means, `http` decides.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Error, Store};

/// A request that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// SHA-256 over the caller, the method, the path and the key.
    pub id: [u8; 32],
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// When it came; tells two tries of one request apart.
    pub begun_at: DateTime<Utc>,
}

/// An answer, to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// HTTP status.
    pub status: u16,
    /// Of which media type, where it has one.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// How a request that carries a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyed {
    /// Nobody has answered it: whoever asked does now.
    Fresh,
    /// It was answered.
    Answered(KeptAnswer),
    /// It was answered, and the answer went with what was erased.
    Erased,
    /// Somebody is answering it.
    Pending,
    /// The key came with another body.
    OtherBody,
}

impl Store {
    /// Begins a request, where nobody has: what was begun before `forgotten` counts no more, and what was begun longer ago than
    /// `lease` and not answered may be taken over by the same body; so may what would begin as late as that, which a clock left
    /// behind that was put back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_keyed(
        &self,
        request: &KeyedRequest,
        forgotten: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Keyed, Error> {
        let begun = sqlx::query!(
            "insert into idempotent_answers (
                id,
                body_sha256,
                begun_at
            )
            values ($1, $2, $3)
            on conflict (id) do update set
                body_sha256 = excluded.body_sha256,
                begun_at = excluded.begun_at,
                status = null,
                content_type = null,
                answer = null,
                erased = false
            where idempotent_answers.begun_at < $4
            or (
                idempotent_answers.status is null
                and (idempotent_answers.begun_at < $5 or idempotent_answers.begun_at > $6)
                and idempotent_answers.body_sha256 = excluded.body_sha256
            )",
            request.id.as_slice(),
            request.body_sha256.as_slice(),
            request.begun_at,
            forgotten,
            request.begun_at - lease,
            request.begun_at + lease,
        );
        if begun.execute(&self.pool).await?.rows_affected() == 1 {
            return Ok(Keyed::Fresh);
        }
        let found = sqlx::query!(
            "select
                body_sha256,
                status,
                content_type,
                answer,
                erased
            from idempotent_answers
            where id = $1",
            request.id.as_slice(),
        );
        // One that has just gone was let go, so that it may be tried again.
        let Some(found) = found.fetch_optional(&self.pool).await? else { return Ok(Keyed::Pending) };
        if found.body_sha256 != request.body_sha256 {
            return Ok(Keyed::OtherBody);
        }
        let (Some(status), Some(body)) = (found.status, found.answer) else { return Ok(Keyed::Pending) };
        if found.erased {
            return Ok(Keyed::Erased);
        }
        let status = u16::try_from(status).map_err(|_| Error::Corrupt { what: "idempotent_answers.status" })?;
        Ok(Keyed::Answered(KeptAnswer { status, content_type: found.content_type, body }))
    }

    /// Keeps the answer to a request that was begun; not where another try has taken it over. Where something was erased meanwhile,
    /// it keeps that there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_answer(&self, request: &KeyedRequest, answer: &KeptAnswer) -> Result<(), Error> {
        sqlx::query!(
            "update idempotent_answers
            set
                status = $3,
                content_type = case when erased then null else $4 end,
                answer = case when erased then ''::bytea else $5 end
            where id = $1
            and begun_at = $2
            and status is null",
            request.id.as_slice(),
            request.begun_at,
            i16::try_from(answer.status).unwrap_or(i16::MAX),
            answer.content_type,
            answer.body,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Lets go of a request that was begun and got no answer worth keeping: it may be tried again at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn let_go(&self, request: &KeyedRequest) -> Result<(), Error> {
        sqlx::query!(
            "delete from idempotent_answers
            where id = $1
            and begun_at = $2
            and status is null",
            request.id.as_slice(),
            request.begun_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Drops what was begun before a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_idempotent_answers(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        let gone = sqlx::query!("delete from idempotent_answers where begun_at < $1", before);
        Ok(gone.execute(&self.pool).await?.rows_affected())
    }
}

/// Takes every answer out, and leaves that there was one: any may tell of what is erased in this database transaction. Requests
/// under way keep none either.
pub(super) async fn erase_answers(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!(
        "update idempotent_answers
        set
            erased = true,
            content_type = null,
            answer = case when status is null then null else ''::bytea end
        where not erased"
    )
    .execute(tx)
    .await?;
    Ok(())
}
