//! Erased rows' texts where other rows hold them: reports, scopes, views and evidence. Not the rows' own columns, which go with them.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::PgConnection;

use super::ERASED;
use crate::store::Error;

/// A text is looked for within other texts from so many characters on; shorter ones stand for the whole or not at all.
const TELLING: usize = 6;

/// Texts that lead to the erased rows and to no others.
pub(super) struct Needles(BTreeSet<String>);

impl Needles {
    fn is_in(&self, text: &str) -> bool {
        self.0.contains(text)
            || self.0.iter().any(|needle| needle.chars().count() >= TELLING && text.contains(needle.as_str()))
    }

    /// Puts [`ERASED`] in the place of every text that holds one; tells whether any did.
    fn scrub(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) if self.is_in(text) => {
                ERASED.clone_into(text);
                true
            }
            Value::Array(items) => items.iter_mut().fold(false, |any, item| self.scrub(item) | any),
            Value::Object(members) => members.values_mut().fold(false, |any, member| self.scrub(member) | any),
            _ => false,
        }
    }

    /// As `like` patterns on JSON text, where quotes and backslashes are written otherwise.
    fn patterns(&self) -> Vec<String> {
        let written = |needle: &String| {
            let json = Value::String(needle.clone()).to_string();
            let inner = json[1..json.len() - 1].replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            if needle.chars().count() >= TELLING { format!("%{inner}%") } else { format!("%\"{inner}\"%") }
        };
        self.0.iter().map(written).collect()
    }
}

/// The texts of these rows that no other row has.
pub(super) async fn needles(
    tx: &mut PgConnection,
    ids: &[String],
    account: Option<&str>,
) -> Result<(Needles, Vec<String>), Error> {
    let rows = sqlx::query!(
        r#"select
            gone.descriptor,
            gone.descriptor_key,
            gone.counterparty,
            exists (
                select from transactions as kept
                where kept.descriptor_key = gone.descriptor_key
                and kept.replaced_by is null
                and kept.id <> all($1)
            ) as "key_stays!",
            exists (
                select from transactions as kept
                where kept.descriptor_key = gone.descriptor_key
                and kept.descriptor = gone.descriptor
                and kept.replaced_by is null
                and kept.id <> all($1)
            ) as "descriptor_stays!"
        from transactions as gone
        where gone.id = any($1)"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let notes = sqlx::query_scalar!(
        r#"select note as "note!" from corrections_made where transaction_id = any($1) and note is not null"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut texts: BTreeSet<String> = ids.iter().cloned().chain(account.map(str::to_owned)).chain(notes).collect();
    let mut keys = BTreeSet::new();
    for row in rows {
        if !row.descriptor_stays {
            texts.insert(row.descriptor);
        }
        if !row.key_stays && !row.descriptor_key.is_empty() {
            keys.insert(row.descriptor_key.clone());
            texts.insert(row.descriptor_key);
        }
        texts.extend(row.counterparty);
    }
    texts.remove("");
    Ok((Needles(texts), keys.into_iter().collect()))
}

/// Reports that name rows: what the label gate found, what runs were about and would change, views of the queue.
pub(super) async fn reports(tx: &mut PgConnection, needles: &Needles) -> Result<(), Error> {
    let patterns = needles.patterns();
    let found = sqlx::query!(
        "select
            id,
            report
        from label_reports
        where report::text like any($1)",
        &patterns,
    )
    .fetch_all(&mut *tx)
    .await?;
    for mut row in found {
        if needles.scrub(&mut row.report) {
            sqlx::query!("update label_reports set report = $2 where id = $1", row.id, row.report)
                .execute(&mut *tx)
                .await?;
        }
    }
    let found = sqlx::query!(
        "select
            id,
            scope,
            diff
        from recategorizations
        where scope::text like any($1)
        or diff::text like any($1)",
        &patterns,
    )
    .fetch_all(&mut *tx)
    .await?;
    for mut row in found {
        let scope = needles.scrub(&mut row.scope);
        if row.diff.as_mut().is_some_and(|diff| needles.scrub(diff)) | scope {
            sqlx::query!(
                "update recategorizations set scope = $2, diff = $3 where id = $1",
                row.id,
                row.scope,
                row.diff
            )
            .execute(&mut *tx)
            .await?;
        }
    }
    sqlx::query!("delete from review_views where filter::text like any($1)", &patterns).execute(&mut *tx).await?;
    Ok(())
}

/// Labelled rows are examples, and other rows' answers cite them as their evidence. Caches are dropped where they do.
pub(super) async fn cited(tx: &mut PgConnection, needles: &Needles) -> Result<(), Error> {
    let patterns = needles.patterns();
    let found = sqlx::query!(
        "select
            id,
            evidence
        from predictions
        where evidence::text like any($1)",
        &patterns,
    )
    .fetch_all(&mut *tx)
    .await?;
    for mut row in found {
        if needles.scrub(&mut row.evidence) {
            sqlx::query!("update predictions set evidence = $2 where id = $1", row.id, row.evidence)
                .execute(&mut *tx)
                .await?;
        }
    }
    let found = sqlx::query!(
        "select
            run_id,
            transaction_id,
            decision
        from recategorization_changes
        where decision::text like any($1)",
        &patterns,
    )
    .fetch_all(&mut *tx)
    .await?;
    for mut row in found {
        if needles.scrub(&mut row.decision) {
            sqlx::query!(
                "update recategorization_changes set decision = $3 where run_id = $1 and transaction_id = $2",
                row.run_id,
                row.transaction_id,
                row.decision,
            )
            .execute(&mut *tx)
            .await?;
        }
    }
    sqlx::query!("delete from remembered_answers where answer::text like any($1)", &patterns).execute(&mut *tx).await?;
    sqlx::query!("delete from chat_replies").execute(&mut *tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_texts_are_found_within_others_and_short_ones_alone() {
        let needles = Needles(["acc-1234", "t1", "a \"b\" 50%_c"].map(str::to_owned).into());
        let mut value = json!({ "ids": ["t1", "t12", "x acc-1234 y"], "n": 1, "say": { "text": "a \"b\" 50%_c!" } });
        assert!(needles.scrub(&mut value));
        assert_eq!(value, json!({ "ids": [ERASED, "t12", ERASED], "n": 1, "say": { "text": ERASED } }));
        assert!(!needles.scrub(&mut value));
        assert_eq!(needles.patterns(), [r#"%a \\"b\\" 50\%\_c%"#, "%acc-1234%", r#"%"t1"%"#]);
    }
}
