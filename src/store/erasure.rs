//! Taking rows out of every table that holds something of them: all of an account's, or those that are too old.
//!
//! What others rest on is unlinked and stays: events keep their place in the feed, decisions their place in the trail, figures their
//! counts. What only the erased rows said goes. Everything of one call is one database transaction.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Error, Store, tell_actor};
use crate::domain::AccountId;

/// What stands where an erased identifier or text stood.
const ERASED: &str = "erased";
/// A text is looked for within other texts from so many characters on; shorter ones stand for the whole or not at all.
const TELLING: usize = 6;

/// Who erases, and how what was erased is proved.
#[derive(Debug, Clone)]
pub struct NewErasure {
    /// Random bytes.
    pub salt: [u8; 16],
    /// SHA-256 over the salt and the account's identifier.
    pub digest: [u8; 32],
    /// Who.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// Something that was made of rows which are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedFrom {
    /// Its number.
    pub id: i64,
    /// Its name; of an adapter with the version.
    pub name: String,
    /// Of its rows, how many were erased, all erasures together.
    pub erased_rows: i64,
}

/// What an erasure took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erased {
    /// Transactions.
    pub transactions: i64,
    /// What people said of them.
    pub labels: i64,
    /// Rules of the account.
    pub rules: i64,
    /// Labelled sets that held some of the rows.
    pub datasets: Vec<LearnedFrom>,
    /// Adapters that were trained on such a set.
    pub adapters: Vec<LearnedFrom>,
}

/// Texts that lead to the erased rows and to no others.
struct Needles(BTreeSet<String>);

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

impl Store {
    /// Erases an account: its transactions with all that was said of them, its rules and its group. None where nothing of it is
    /// here.
    ///
    /// # Errors
    /// When the database fails; then nothing was erased.
    pub async fn erase_account(&self, account: &AccountId, erasure: &NewErasure) -> Result<Option<Erased>, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, &erasure.made_by).await?;
        let ids = sqlx::query_scalar!("select id from transactions where account_id = $1", account.as_str())
            .fetch_all(&mut *tx)
            .await?;
        let mut erased = forget(&mut tx, &ids, Some(account.as_str())).await?;
        erased.rules = rules(&mut tx, account.as_str()).await?;
        let grouped = sqlx::query!("delete from account_groups where account_id = $1", account.as_str())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if ids.is_empty() && erased.rules == 0 && grouped == 0 {
            return Ok(None);
        }
        let numbers = |of: &[LearnedFrom]| of.iter().map(|one| one.id).collect::<Vec<i64>>();
        sqlx::query!(
            "insert into erasures (
                salt,
                digest,
                transactions,
                labels,
                rules,
                datasets,
                adapters,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            erasure.salt.as_slice(),
            erasure.digest.as_slice(),
            erased.transactions,
            erased.labels,
            erased.rules,
            &numbers(&erased.datasets),
            &numbers(&erased.adapters),
            erasure.made_by,
            erasure.made_at,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(erased))
    }

    /// Forgets transactions posted before a time, at most `limit`, with all that was said of them; returns how many. A row that
    /// another replaced goes with that one.
    ///
    /// # Errors
    /// When the database fails; then none was forgotten.
    pub async fn forget_transactions(&self, before: DateTime<Utc>, limit: u32, by: &str) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        let ids = sqlx::query_scalar!(
            r#"with old as (
                select id
                from transactions
                where posted_at < $1
                and replaced_by is null
                order by posted_at, id
                limit $2
            )
            select id as "id!" from old
            union
            select id from transactions where replaced_by in (select id from old)"#,
            before,
            i64::from(limit),
        )
        .fetch_all(&mut *tx)
        .await?;
        let erased = forget(&mut tx, &ids, None).await?;
        tx.commit().await?;
        Ok(erased.transactions)
    }
}

/// The texts of these rows that no other row has.
async fn needles(
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

/// Takes these transactions out of every table.
async fn forget(tx: &mut PgConnection, ids: &[String], account: Option<&str>) -> Result<Erased, Error> {
    sqlx::query_scalar!("select set_config('txcat.erasing', 'yes', true)").fetch_one(&mut *tx).await?;
    let (needles, gone_keys) = needles(tx, ids, account).await?;
    let groups = sqlx::query_scalar!(
        r#"select group_key as "group_key!" from review_items where transaction_id = any($1)
        union
        select group_key from review_actions where transaction_id = any($1) and group_key is not null"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let (datasets, adapters) = mark_learned(tx, ids).await?;
    let labels = desk(tx, ids, &gone_keys).await?;
    runs(tx, ids, account).await?;
    answers(tx, ids).await?;
    // Answers that are kept for idempotency keys may tell of any transaction.
    sqlx::query!("delete from idempotent_answers").execute(&mut *tx).await?;
    merchants(tx, &gone_keys).await?;
    let transactions =
        sqlx::query!("delete from transactions where id = any($1)", ids).execute(&mut *tx).await?.rows_affected();
    waiting(tx, &groups).await?;
    reports(tx, &needles).await?;
    if labels > 0 {
        cited(tx, &needles).await?;
    }
    sqlx::query_scalar!("select set_config('txcat.erasing', '', true)").fetch_one(&mut *tx).await?;
    Ok(Erased { transactions: i64::try_from(transactions).unwrap_or(i64::MAX), labels, rules: 0, datasets, adapters })
}

/// Marks the sets that hold such rows, and the adapters that were trained on one of them.
async fn mark_learned(tx: &mut PgConnection, ids: &[String]) -> Result<(Vec<LearnedFrom>, Vec<LearnedFrom>), Error> {
    let adapters = sqlx::query_as!(
        LearnedFrom,
        r#"with held as (
            select
                encode(label_reports.manifest_sha256, 'hex') as manifest,
                count(distinct dataset_items.transaction_id) as rows
            from dataset_items
            join label_reports on label_reports.dataset_id = dataset_items.dataset_id
            where dataset_items.transaction_id = any($1)
            group by label_reports.manifest_sha256
        )
        update adapters
        set
            erased_rows = adapters.erased_rows + held.rows
        from held
        where adapters.label_manifest = held.manifest
        returning
            adapters.id,
            adapters.name || '@' || adapters.version as "name!",
            adapters.erased_rows"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let datasets = sqlx::query_as!(
        LearnedFrom,
        "with gone as (
            delete from dataset_items
            where transaction_id = any($1)
            returning dataset_id
        ), held as (
            select
                dataset_id,
                count(*) as rows
            from gone
            group by dataset_id
        )
        update datasets
        set
            erased_rows = datasets.erased_rows + held.rows
        from held
        where datasets.id = held.dataset_id
        returning
            datasets.id,
            datasets.name,
            datasets.erased_rows",
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok((datasets, adapters))
}

/// What people said and did; returns how many labels went.
async fn desk(tx: &mut PgConnection, ids: &[String], gone_keys: &[String]) -> Result<i64, Error> {
    sqlx::query!("delete from second_labels where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from review_changes where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!(
        "delete from corrections_withdrawn
        using corrections_made
        where corrections_made.id = corrections_withdrawn.correction_id
        and corrections_made.transaction_id = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from corrections_mapped
        using corrections_made
        where corrections_made.id = corrections_mapped.correction_id
        and corrections_made.transaction_id = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update review_actions
        set
            transaction_id = null,
            group_key = null,
            note = null,
            correction_id = null
        where transaction_id = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update review_actions
        set
            merchant_key = case when merchant_key = any($1) then null else merchant_key end,
            into_key = case when into_key = any($1) then null else into_key end,
            name = null,
            name_before = null
        where merchant_key = any($1)
        or into_key = any($1)",
        gone_keys,
    )
    .execute(&mut *tx)
    .await?;
    let labels =
        sqlx::query!("delete from corrections_made where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    Ok(i64::try_from(labels.rows_affected()).unwrap_or(i64::MAX))
}

/// What recategorizations kept of the rows, and where they stand: a cursor at a row that goes is put to the one before.
async fn runs(tx: &mut PgConnection, ids: &[String], account: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        "update recategorizations
        set
            chunk_cursor = (
                select max(recategorization_changes.transaction_id)
                from recategorization_changes
                where recategorization_changes.run_id = recategorizations.id
                and recategorization_changes.transaction_id < recategorizations.chunk_cursor
                and recategorization_changes.transaction_id <> all($1)
            )
        where chunk_cursor = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update recategorizations
        set
            cursor_account_id = kept.account_id,
            cursor_posted_at = kept.posted_at,
            cursor_id = kept.id
        from recategorizations as stood
        left join lateral (
            select
                transactions.account_id,
                transactions.posted_at,
                transactions.id
            from transactions
            where transactions.replaced_by is null
            and (transactions.account_id, transactions.posted_at, transactions.id)
                < (stood.cursor_account_id, stood.cursor_posted_at, stood.cursor_id)
            and transactions.id <> all($1)
            order by
                transactions.account_id desc,
                transactions.posted_at desc,
                transactions.id desc
            limit 1
        ) as kept on true
        where stood.id = recategorizations.id
        and (recategorizations.cursor_id = any($1) or recategorizations.cursor_account_id = $2)",
        ids,
        account,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("delete from recategorization_changes where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from recategorization_failures where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from recategorization_labels where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    Ok(())
}

/// What engines said, what holds, and what was told of it.
async fn answers(tx: &mut PgConnection, ids: &[String]) -> Result<(), Error> {
    sqlx::query!("delete from shadow_predictions where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from in_force where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from review_items where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    // An event that has its place keeps it: the feed has no gap, and nobody misses what comes after.
    sqlx::query!("delete from events where transaction_id = any($1) and id is null", ids).execute(&mut *tx).await?;
    sqlx::query!("update events set transaction_id = $2 where transaction_id = any($1)", ids, ERASED)
        .execute(&mut *tx)
        .await?;
    let texts = sqlx::query_scalar!("delete from predictions where transaction_id = any($1) returning text_hash", ids)
        .fetch_all(&mut *tx)
        .await?;
    sqlx::query!(
        "delete from rendered_texts
        where hash = any($1)
        and not exists (select from predictions where predictions.text_hash = rendered_texts.hash)",
        &texts,
    )
    .execute(&mut *tx)
    .await?;
    // A scored row keeps what its figures are made of.
    sqlx::query!(
        "update eval_items
        set
            item_id = 'erased:' || gen_random_uuid(),
            descriptor_key = null,
            amount = null,
            posted_at = null
        where item_id = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// What people call merchants, and the rules for all accounts, of keys that no row has any more.
async fn merchants(tx: &mut PgConnection, gone_keys: &[String]) -> Result<(), Error> {
    sqlx::query!("delete from merchant_merges where descriptor_key = any($1)", gone_keys).execute(&mut *tx).await?;
    sqlx::query!(
        "delete from merchant_names
        where merchant_key = any($1)
        and not exists (select from merchant_merges where merchant_merges.root_key = merchant_names.merchant_key)",
        gone_keys,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update account_rules
        set
            descriptor_key = 'erased:' || id,
            retired_at = coalesce(retired_at, now())
        where account_id is null
        and descriptor_key = any($1)
        and not exists (select from merchant_merges where merchant_merges.root_key = account_rules.descriptor_key)",
        gone_keys,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// An account's rules. Nothing that stays was decided by one.
async fn rules(tx: &mut PgConnection, account: &str) -> Result<i64, Error> {
    sqlx::query_scalar!("select set_config('txcat.erasing', 'yes', true)").fetch_one(&mut *tx).await?;
    sqlx::query!(
        "update review_actions
        set
            rule_id = null
        where rule_id in (select id from account_rules where account_id = $1)",
        account,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from rules_mapped
        where rule_id in (select id from account_rules where account_id = $1)",
        account,
    )
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query!("delete from account_rules where account_id = $1", account).execute(&mut *tx).await?;
    sqlx::query_scalar!("select set_config('txcat.erasing', '', true)").fetch_one(&mut *tx).await?;
    Ok(i64::try_from(gone.rows_affected()).unwrap_or(i64::MAX))
}

/// Groups of the desk in which nothing waits any more.
async fn waiting(tx: &mut PgConnection, groups: &[String]) -> Result<(), Error> {
    let empty = sqlx::query_scalar!(
        r#"select asked.group_key as "group_key!"
        from unnest($1::text[]) as asked(group_key)
        where not exists (
            select from review_items
            where review_items.group_key = asked.group_key
            and review_items.resolved_at is null
        )"#,
        groups,
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!("delete from review_groups where group_key = any($1)", &empty).execute(&mut *tx).await?;
    sqlx::query!("delete from review_groups_stale where group_key = any($1)", &empty).execute(&mut *tx).await?;
    sqlx::query!("delete from review_skips where group_key = any($1)", &empty).execute(&mut *tx).await?;
    Ok(())
}

/// Reports that name rows: what the label gate found, what runs were about and would change, views of the queue.
async fn reports(tx: &mut PgConnection, needles: &Needles) -> Result<(), Error> {
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
async fn cited(tx: &mut PgConnection, needles: &Needles) -> Result<(), Error> {
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
