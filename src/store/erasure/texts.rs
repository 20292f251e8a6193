//! Erased rows' texts where other rows hold them: reports, scopes, views and evidence. Not the rows' own columns, which go with them.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::PgConnection;

use super::ERASED;
use crate::store::{Error, escaped};

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
            let inner = escaped(&json[1..json.len() - 1]);
            if needle.chars().count() >= TELLING { format!("%{inner}%") } else { format!("%\"{inner}\"%") }
        };
        self.0.iter().map(written).collect()
    }
}

/// What leads to the erased rows and to no others.
pub(super) struct Gone {
    /// All such texts.
    pub(super) needles: Needles,
    /// Keys among them.
    pub(super) keys: Vec<String>,
    /// Statement texts among them that somebody labelled.
    pub(super) labelled: Vec<String>,
}

/// The texts of these rows that no other row has.
pub(super) async fn gone(tx: &mut PgConnection, ids: &[String], account: Option<&str>) -> Result<Gone, Error> {
    let keys = sqlx::query_scalar!(
        "select gone.descriptor_key
        from (
            select distinct descriptor_key
            from transactions
            where id = any($1)
            and descriptor_key <> ''
        ) as gone
        left join lateral (
            select true as stays
            from transactions
            where transactions.descriptor_key = gone.descriptor_key
            and transactions.replaced_by is null
            and transactions.id <> all($1)
            limit 1
        ) as kept on true
        where kept.stays is null",
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let descriptors = sqlx::query!(
        r#"select
            gone.descriptor,
            gone.labelled as "labelled!"
        from (
            select
                transactions.descriptor,
                bool_or(corrections_made.id is not null) as labelled
            from transactions
            left join corrections_made on corrections_made.transaction_id = transactions.id
            where transactions.id = any($1)
            group by transactions.descriptor
        ) as gone
        left join lateral (
            select true as stays
            from transactions
            where hashtextextended(transactions.descriptor, 0) = hashtextextended(gone.descriptor, 0)
            and transactions.descriptor = gone.descriptor
            and transactions.replaced_by is null
            and transactions.id <> all($1)
            limit 1
        ) as kept on true
        where kept.stays is null"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let said = sqlx::query_scalar!(
        r#"select counterparty as "text!" from transactions where id = any($1) and counterparty is not null
        union
        select note from corrections_made where transaction_id = any($1) and note is not null"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let labelled = descriptors.iter().filter(|row| row.labelled).map(|row| row.descriptor.clone()).collect();
    let mut texts: BTreeSet<String> = ids.iter().chain(&keys).cloned().chain(account.map(str::to_owned)).collect();
    texts.extend(descriptors.into_iter().map(|row| row.descriptor).chain(said));
    texts.remove("");
    Ok(Gone { needles: Needles(texts), keys, labelled })
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

/// Labelled rows are examples, and other rows' answers cite them as their evidence, by the text alone. Answers that are remembered
/// rest on no labelled row.
pub(super) async fn cited(tx: &mut PgConnection, labelled: &[String]) -> Result<(), Error> {
    sqlx::query!(
        r#"update predictions
        set
            evidence = (
                select jsonb_agg(
                    case
                        when part.item ->> 'text' = any($1) then part.item || jsonb_build_object('text', $2::text)
                        else part.item
                    end
                    order by part.place
                )
                from jsonb_array_elements(predictions.evidence) with ordinality as part(item, place)
            )
        where evidence @> '[{"kind": "example"}]'
        and jsonb_path_query_array(evidence, '$[*].text') ?| $1"#,
        labelled,
        ERASED,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        r#"update recategorization_changes
        set
            decision = jsonb_set(decision, '{prediction,evidence}', (
                select jsonb_agg(
                    case
                        when part.item ->> 'text' = any($1) then part.item || jsonb_build_object('text', $2::text)
                        else part.item
                    end
                    order by part.place
                )
                from jsonb_array_elements(recategorization_changes.decision #> '{prediction,evidence}')
                    with ordinality as part(item, place)
            ))
        where decision @> '{"prediction": {"evidence": [{"kind": "example"}]}}'
        and jsonb_path_query_array(decision, '$.prediction.evidence[*].text') ?| $1"#,
        labelled,
        ERASED,
    )
    .execute(&mut *tx)
    .await?;
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
