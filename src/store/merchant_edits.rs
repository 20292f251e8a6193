//! What people say of a merchant as a whole: what it is called, what it is, and that two are one.
//!
//! Each is an act of the trail with every row that it changes, and is taken back like a decision. What a person said of
//! a row stays. A preview does the very thing and rolls back, so that it can't differ from what comes.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::{PgConnection, Postgres, Transaction};

use super::{
    Error, Store, count,
    merchant_merges::{Names, follow, lock_merges, names_of, regroup},
    past_deadlocks, read,
    review_decisions::{put_in_force, resolve},
    review_reach::{Covered, cover},
    review_trail::note_changes,
    rules::{NewRule, leave_rule},
};
use crate::domain::{ActionKind, DecidedBy, Direction, Slug, TransactionId};

/// What is said of a merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MerchantChange {
    /// What people call it; without a name again by its key.
    Rename {
        /// Its name.
        name: Option<String>,
    },
    /// What its rows of one direction are, on every account without a rule of its own.
    Categorize {
        /// Of which rows.
        direction: Direction,
        /// What they are.
        category: Slug,
    },
    /// It is the same as another.
    Merge {
        /// A key of the other.
        into: String,
    },
}

/// Something that is said of a merchant, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantEdit {
    /// A key of the merchant.
    pub merchant: String,
    /// What is said.
    pub change: MerchantChange,
    /// How many rows the person was shown that it would change; otherwise it is refused.
    pub expects: Option<u32>,
    /// Why.
    pub note: Option<String>,
    /// Who.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// Why it does not hold; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditRefused {
    /// No row has such a key.
    Unknown {
        /// Which.
        key: String,
    },
    /// The two are one merchant already.
    Same,
    /// It would decide another number of rows than the person was shown.
    Outdated {
        /// How many now.
        rows: u32,
    },
}

/// What it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantReach {
    /// The merchant, by the key it would go by.
    pub merchant: String,
    /// Every key that it would have.
    pub keys: Vec<String>,
    /// How many rows it would decide.
    pub rows: u32,
    /// How many of them would have another category.
    pub changing: u32,
    /// Those rows in the order of their ids.
    pub affected: Vec<MerchantAffected>,
    /// Rules of people that would hold for the merchant.
    pub rules: u32,
}

/// A row that it would decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantAffected {
    /// Which.
    pub id: TransactionId,
    /// What it is now.
    pub category: Slug,
    /// What it would be.
    pub becomes: Slug,
    /// Whether it waits for review.
    pub waits: bool,
}

/// An edit of a merchant that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MerchantEdited {
    /// Its number in the trail.
    pub action: i64,
    /// How many rows it decided.
    pub rows: u32,
}

/// A row with what it becomes, locked.
struct Reached {
    row: Covered,
    becomes: String,
    becomes_by: DecidedBy,
}

/// A change that is carried out in a database transaction, but for the rows that it reaches.
struct CarriedOut {
    tx: Transaction<'static, Postgres>,
    action: i64,
    /// The merchant that it leaves.
    names: Names,
    rows: Vec<Reached>,
}

impl Store {
    /// What is said of a merchant holds from now on.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    pub async fn edit_merchant(&self, edit: &MerchantEdit) -> Result<Result<MerchantEdited, EditRefused>, Error> {
        past_deadlocks(|| self.edit_merchant_once(edit).boxed()).await
    }

    async fn edit_merchant_once(&self, edit: &MerchantEdit) -> Result<Result<MerchantEdited, EditRefused>, Error> {
        let CarriedOut { mut tx, action, rows, .. } = match self.carried_out(edit).await? {
            Ok(carried_out) => carried_out,
            Err(refused) => return Ok(Err(refused)),
        };
        let many = count(i64::try_from(rows.len()).unwrap_or(i64::MAX), "review_changes")?;
        if edit.expects.is_some_and(|expected| expected != many) {
            return Ok(Err(EditRefused::Outdated { rows: many }));
        }
        let ids: Vec<&str> = rows.iter().map(|row| row.row.transaction_id.as_str()).collect();
        resolve(&mut tx, &ids, &edit.made_by, edit.made_at).await?;
        for (category, decided_by, covered) in by_outcome(rows) {
            put_in_force(&mut tx, &covered, &category, decided_by).await?;
            let changes =
                covered.iter().map(|row| row.becomes(&category, decided_by)).collect::<Result<Vec<_>, _>>()?;
            note_changes(&mut tx, action, &changes).await?;
        }
        tx.commit().await?;
        Ok(Ok(MerchantEdited { action, rows: many }))
    }

    /// What it would do, with at most `limit` rows. Nothing is changed.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn preview_merchant(
        &self,
        edit: &MerchantEdit,
        limit: u32,
    ) -> Result<Result<MerchantReach, EditRefused>, Error> {
        let CarriedOut { mut tx, names, rows, .. } = match self.carried_out(edit).await? {
            Ok(carried_out) => carried_out,
            Err(refused) => return Ok(Err(refused)),
        };
        let rules = sqlx::query_scalar!(
            r#"select
                count(*) as "rules!"
            from account_rules
            where descriptor_key = any($1)
            and retired_at is null"#,
            &names.keys,
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.rollback().await?;
        let many = |rows: usize| count(i64::try_from(rows).unwrap_or(i64::MAX), "transactions");
        Ok(Ok(MerchantReach {
            rows: many(rows.len())?,
            changing: many(rows.iter().filter(|row| row.row.category != row.becomes).count())?,
            affected: rows
                .iter()
                .take(limit as usize)
                .map(|row| {
                    Ok(MerchantAffected {
                        id: read(&row.row.transaction_id, "transactions.id")?,
                        category: read(&row.row.category, "in_force.category")?,
                        becomes: read(&row.becomes, "account_rules.category")?,
                        waits: row.row.waited,
                    })
                })
                .collect::<Result<_, Error>>()?,
            rules: count(rules, "account_rules")?,
            merchant: names.merchant,
            keys: names.keys,
        }))
    }

    async fn carried_out(&self, edit: &MerchantEdit) -> Result<Result<CarriedOut, EditRefused>, Error> {
        let mut tx = self.begin().await?;
        lock_merges(&mut tx).await?;
        let (names, change) = match found(&mut tx, edit).await? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let action = note_edit(&mut tx, edit, &change, &names).await?;
        let (names, rows) = carry_out(&mut tx, &change, names, action).await?;
        Ok(Ok(CarriedOut { tx, action, names, rows }))
    }
}

/// The merchant that an edit is about, and the change, in which another merchant goes by its own key; or why there is
/// nothing to edit.
async fn found(
    tx: &mut PgConnection,
    edit: &MerchantEdit,
) -> Result<Result<(Names, MerchantChange), EditRefused>, Error> {
    let mut asked = vec![edit.merchant.as_str()];
    if let MerchantChange::Merge { into } = &edit.change {
        asked.push(into);
    }
    let mut merchants = Vec::new();
    for key in asked {
        let names = names_of(tx, key).await?;
        let known = sqlx::query_scalar!(
            r#"select exists (
                select
                from transactions
                where descriptor_key = any($1)
                and replaced_by is null
            ) as "known!""#,
            &names.keys,
        )
        .fetch_one(&mut *tx)
        .await?;
        if key.is_empty() || !known {
            return Ok(Err(EditRefused::Unknown { key: key.to_owned() }));
        }
        merchants.push(names);
    }
    let into = merchants.get(1).map(|into| into.merchant.clone());
    let names = merchants.swap_remove(0);
    Ok(match into {
        Some(into) if into == names.merchant => Err(EditRefused::Same),
        Some(into) => Ok((names, MerchantChange::Merge { into })),
        None => Ok((names, edit.change.clone())),
    })
}

/// Writes the act into the trail; returns its number.
async fn note_edit(
    tx: &mut PgConnection,
    edit: &MerchantEdit,
    change: &MerchantChange,
    names: &Names,
) -> Result<i64, Error> {
    let (kind, category, direction, name, into) = match change {
        MerchantChange::Rename { name } => (ActionKind::Rename, None, None, name.as_deref(), None),
        MerchantChange::Categorize { direction, category } => {
            (ActionKind::Categorize, Some(category.as_str()), Some(direction.as_str()), None, None)
        }
        MerchantChange::Merge { into } => (ActionKind::Merge, None, None, None, Some(into)),
    };
    let rule = match change {
        MerchantChange::Categorize { direction, category } => {
            let rule = NewRule {
                account: None,
                merchant: &names.merchant,
                direction: direction.as_str(),
                category: category.as_str(),
                made_by: &edit.made_by,
                made_at: edit.made_at,
            };
            Some(leave_rule(tx, &rule).await?)
        }
        _ => None,
    };
    let action = sqlx::query_scalar!(
        "insert into review_actions (
            kind,
            merchant_key,
            into_key,
            direction,
            category,
            name,
            name_before,
            note,
            rule_id,
            rule_before,
            made_by,
            made_at
        )
        values (
            $1,
            $2,
            $3,
            $4,
            $5,
            $6,
            (select name from merchant_names where merchant_key = $2),
            $7,
            $8,
            $9,
            $10,
            $11
        )
        returning id",
        kind.as_str(),
        names.merchant,
        into,
        direction,
        category,
        name,
        edit.note,
        rule.as_ref().map(|rule| rule.0),
        rule.as_ref().and_then(|rule| rule.1.as_deref()),
        edit.made_by,
        edit.made_at,
    )
    .fetch_one(tx)
    .await?;
    Ok(action)
}

/// Does what is said, but for the rows that it reaches: those are locked and told, with the merchant that is left.
async fn carry_out(
    tx: &mut PgConnection,
    change: &MerchantChange,
    names: Names,
    action: i64,
) -> Result<(Names, Vec<Reached>), Error> {
    match change {
        MerchantChange::Rename { name } => {
            call(tx, &names.merchant, name.as_deref(), action).await?;
            Ok((names, Vec::new()))
        }
        MerchantChange::Categorize { direction, category } => {
            let rows = cover(tx, &names, direction.as_str(), None, "").await?;
            let becomes = category.as_str();
            let rows = rows.into_iter().map(|row| Reached {
                row,
                becomes: becomes.to_owned(),
                becomes_by: DecidedBy::MerchantRule,
            });
            Ok((names, rows.collect()))
        }
        MerchantChange::Merge { into } => {
            sqlx::query!(
                "insert into merchant_merges (
                    descriptor_key,
                    into_key,
                    root_key,
                    action_id
                )
                values ($1, $2, $2, $3)",
                names.merchant,
                into,
                action,
            )
            .execute(&mut *tx)
            .await?;
            // A name goes along to a merchant that has none.
            sqlx::query!(
                "insert into merchant_names (
                    merchant_key,
                    name,
                    action_id
                )
                select
                    $2,
                    name,
                    $3
                from merchant_names
                where merchant_key = $1
                on conflict (merchant_key) do nothing",
                names.merchant,
                into,
                action,
            )
            .execute(&mut *tx)
            .await?;
            follow(tx).await?;
            regroup(tx, &names.keys).await?;
            let names = names_of(tx, into).await?;
            let rows = ruled(tx, &names).await?;
            Ok((names, rows))
        }
    }
}

/// Sets or clears a merchant's name.
pub(super) async fn call(tx: &mut PgConnection, merchant: &str, name: Option<&str>, action: i64) -> Result<(), Error> {
    match name {
        Some(name) => {
            sqlx::query!(
                "insert into merchant_names (
                    merchant_key,
                    name,
                    action_id
                )
                values ($1, $2, $3)
                on conflict (merchant_key) do update set
                    name = excluded.name,
                    action_id = excluded.action_id",
                merchant,
                name,
                action,
            )
            .execute(tx)
            .await?;
        }
        None => {
            sqlx::query!("delete from merchant_names where merchant_key = $1", merchant).execute(tx).await?;
        }
    }
    Ok(())
}

/// Locks the rows of a merchant that a rule decides otherwise than what is in force, or that wait although one decides
/// them: but for those that a person decided, was drawn for, or complained about.
async fn ruled(tx: &mut PgConnection, names: &Names) -> Result<Vec<Reached>, Error> {
    let rows = sqlx::query!(
        r#"select
            in_force.transaction_id,
            in_force.category,
            in_force.decided_by,
            in_force.review_status,
            (review_items.transaction_id is not null) as "waited!",
            rule.category as "becomes!",
            rule.decided_by as "becomes_by!"
        from transactions
        join in_force on in_force.transaction_id = transactions.id
        left join review_items
            on review_items.transaction_id = transactions.id
            and review_items.resolved_at is null
        cross join lateral rule_for(
            transactions.account_id, transactions.descriptor_key, transactions.direction
        ) as rule
        where transactions.descriptor_key = any($1)
        and transactions.replaced_by is null
        and in_force.review_status <> 'reviewed'
        and in_force.decided_by not in ('correction', 'import')
        and (review_items.reason is null or review_items.reason not in ('audit', 'complaint'))
        and (in_force.category <> rule.category or review_items.transaction_id is not null)
        order by transactions.id
        for no key update of in_force"#,
        &names.keys,
    )
    .fetch_all(tx)
    .await?;
    let reached = rows.into_iter().map(|row| {
        Ok(Reached {
            becomes_by: read(&row.becomes_by, "account_rules.decided_by")?,
            row: Covered {
                transaction_id: row.transaction_id,
                category: row.category,
                decided_by: row.decided_by,
                review_status: row.review_status,
                waited: row.waited,
            },
            becomes: row.becomes,
        })
    });
    reached.collect()
}

/// The rows by what they become and whose word that is.
fn by_outcome(rows: Vec<Reached>) -> Vec<(String, DecidedBy, Vec<Covered>)> {
    let mut groups: Vec<(String, DecidedBy, Vec<Covered>)> = Vec::new();
    for Reached { row, becomes, becomes_by } in rows {
        match groups.iter_mut().find(|(category, by, _)| *category == becomes && *by == becomes_by) {
            Some((.., covered)) => covered.push(row),
            None => groups.push((becomes, becomes_by, vec![row])),
        }
    }
    groups
}
