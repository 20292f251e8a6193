//! What engines said, remembered by what it rests on.
//!
//! A cache: nothing here is anybody's word, and all of it may be dropped at any time. It is no history of what was
//! answered: that is `predictions`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{Error, Store};
use crate::domain::{InputHash, Prediction};

impl Store {
    /// The number under which an engine's answers are remembered; it counts as used now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remembered_engine(&self, engine: &str, now: DateTime<Utc>) -> Result<i64, Error> {
        let id = sqlx::query_scalar!(
            "insert into remembered_engines (
                engine,
                used_at
            )
            values ($1, $2)
            on conflict (engine) do update set
                used_at = greatest(remembered_engines.used_at, excluded.used_at)
            returning id",
            engine,
            now,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(id)
    }

    /// What an engine said of these inputs, as far as that is remembered.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn recall(&self, engine: i64, inputs: &[InputHash]) -> Result<HashMap<InputHash, Prediction>, Error> {
        let hashes: Vec<&[u8]> = inputs.iter().map(|input| input.as_bytes().as_slice()).collect();
        let rows = sqlx::query!(
            r#"select
                input,
                answer as "answer: Json<Prediction>"
            from remembered_answers
            where engine_id = $1
            and input = any($2)"#,
            engine,
            &hashes as &[&[u8]],
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let input = row.input.try_into().map_err(|_| Error::Corrupt { what: "remembered_answers.input" })?;
                Ok((InputHash::from_bytes(input), row.answer.0))
            })
            .collect()
    }

    /// Remembers what an engine said; returns how many of these answers were new. An engine that was forgotten meanwhile
    /// keeps nothing.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn remember(&self, engine: i64, answers: &[(InputHash, Prediction)]) -> Result<u64, Error> {
        let hashes: Vec<&[u8]> = answers.iter().map(|(input, _)| input.as_bytes().as_slice()).collect();
        let said: Vec<Json<&Prediction>> = answers.iter().map(|(_, answer)| Json(answer)).collect();
        // In one order, so that two who remember the same don't wait for each other in a circle.
        let done = sqlx::query!(
            "insert into remembered_answers (
                engine_id,
                input,
                answer
            )
            select
                remembered_engines.id,
                said.input,
                said.answer
            from remembered_engines
            cross join unnest($2::bytea[], $3::jsonb[]) as said(input, answer)
            where remembered_engines.id = $1
            order by said.input
            on conflict (engine_id, input) do nothing",
            engine,
            &hashes as &[&[u8]],
            &said as &[Json<&Prediction>],
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Forgets engines that were not of use since `unused_since`, and then the longest unused ones until at most `most`
    /// answers are left, but none of the `kept` engines. Returns how many answers are left.
    ///
    /// # Errors
    /// When the database fails; then nothing was forgotten.
    pub async fn forget_remembered(&self, kept: &[i64], unused_since: DateTime<Utc>, most: u64) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let counted = sqlx::query!(
            r#"select
                remembered_engines.id,
                remembered_engines.used_at,
                count(remembered_answers.input) as "answers!"
            from remembered_engines
            left join remembered_answers on remembered_answers.engine_id = remembered_engines.id
            group by remembered_engines.id
            order by
                remembered_engines.used_at,
                remembered_engines.id"#
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut left: u64 = counted.iter().map(|of| of.answers.unsigned_abs()).sum();
        let mut gone = Vec::new();
        for of in counted.iter().filter(|of| !kept.contains(&of.id)) {
            if of.used_at < unused_since || left > most {
                left -= of.answers.unsigned_abs();
                gone.push(of.id);
            }
        }
        sqlx::query!("delete from remembered_engines where id = any($1)", &gone).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(left)
    }
}
