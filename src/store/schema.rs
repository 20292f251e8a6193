//! What the database lacks of the schema that this version expects: steps that were never run, and tables, views and columns that
//! are gone since. It mends nothing: `Store::connect` runs steps, and a backup has what is gone.

use super::{Error, Store};

/// Every column of every table and view that the migrations leave behind, as `.ci/sqlx-prepare` writes them.
const COLUMNS: &str = include_str!("columns.txt");

/// The schema beside the one that this version expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaCondition {
    /// How many of this version's migrations were not run.
    pub missing_migrations: usize,
    /// How many were run that this version doesn't know.
    pub newer_migrations: usize,
    /// Tables and views that are gone, and columns (`table.column`) of those that are there.
    pub missing: Vec<String>,
}

impl SchemaCondition {
    /// Whether it has all that this version expects.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing_migrations == 0 && self.missing.is_empty()
    }
}

impl Store {
    /// What the schema lacks. Of one that a newer version has taken on, columns are not looked at: it drops those that no version
    /// in use asks for any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schema_condition(&self) -> Result<SchemaCondition, Error> {
        let known: Vec<i64> = sqlx::migrate!().iter().map(|migration| migration.version).collect();
        // The table is made by the migrator, not by a migration: the build can't check this query.
        let applied = sqlx::query_scalar::<_, i64>("select version from _sqlx_migrations where success");
        let applied = match applied.fetch_all(&self.pool).await.map_err(Error::from) {
            Err(Error::Incomplete(_)) => Vec::new(),
            applied => applied?,
        };
        let missing_migrations = known.iter().filter(|version| !applied.contains(version)).count();
        let newer_migrations = applied.iter().filter(|version| !known.contains(version)).count();
        let as_migrated = missing_migrations == 0 && newer_migrations == 0;
        let missing = if as_migrated { self.missing_columns().await? } else { Vec::new() };
        Ok(SchemaCondition { missing_migrations, newer_migrations, missing })
    }

    async fn missing_columns(&self) -> Result<Vec<String>, Error> {
        let expected: Vec<&str> = COLUMNS.lines().collect();
        let missing = sqlx::query_scalar!(
            r#"with expected as (
                select
                    split_part(asked.name, '.', 1) as relation,
                    split_part(asked.name, '.', 2) as attribute
                from unnest($1::text[]) as asked(name)
            ), found as (
                select
                    relation,
                    attribute,
                    to_regclass(relation) as oid
                from expected
            )
            select distinct
                case when oid is null then relation else relation || '.' || attribute end as "name!"
            from found
            where not exists (
                select from pg_attribute
                where pg_attribute.attrelid = found.oid
                and pg_attribute.attname = found.attribute
                and not pg_attribute.attisdropped
            )
            order by 1"#,
            &expected as &[&str],
        );
        Ok(missing.fetch_all(&self.pool).await?)
    }
}
