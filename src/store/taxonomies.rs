//! Versions of the closed set of categories, kept so that old predictions stay readable.

use chrono::{DateTime, Utc};

use super::{Error, Store};
use crate::domain::{Category, Taxonomy};

/// A version of a taxonomy as it was when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTaxonomy {
    /// Its version, `name@` and eight hexadecimal digits.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Its categories, in file order.
    pub categories: Vec<Category>,
}

impl Store {
    /// Stores this version, if it isn't yet; returns whether it is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sync_taxonomy(&self, taxonomy: &Taxonomy, now: DateTime<Utc>) -> Result<bool, Error> {
        let categories = serde_json::to_value(taxonomy.categories())
            .map_err(|_| Error::Corrupt { what: "taxonomies.categories" })?;
        let done = sqlx::query!(
            "insert into taxonomies (
                version,
                name,
                categories,
                synced_at
            )
            values ($1, $2, $3, $4)
            on conflict (version) do nothing",
            taxonomy.version(),
            taxonomy.name(),
            categories,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The taxonomy before, while a change of it is tried.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn shadow_taxonomy(&self) -> Result<Option<StoredTaxonomy>, Error> {
        let version = sqlx::query_scalar!(
            "select
                from_taxonomy
            from taxonomy_migrations
            where shadow
            order by run_id desc
            limit 1"
        )
        .fetch_optional(&self.pool)
        .await?;
        match version {
            Some(version) => self.taxonomy(&version).await,
            None => Ok(None),
        }
    }

    /// All versions, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn taxonomy_versions(&self) -> Result<Vec<String>, Error> {
        let versions = sqlx::query_scalar!(
            "select
                version
            from taxonomies
            order by synced_at desc, version"
        );
        Ok(versions.fetch_all(&self.pool).await?)
    }

    /// The version, if it was ever stored.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn taxonomy(&self, version: &str) -> Result<Option<StoredTaxonomy>, Error> {
        let row = sqlx::query!(
            "select
                version,
                name,
                categories
            from taxonomies
            where version = $1",
            version,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            let categories =
                serde_json::from_value(row.categories).map_err(|_| Error::Corrupt { what: "taxonomies.categories" })?;
            Ok(StoredTaxonomy { version: row.version, name: row.name, categories })
        })
        .transpose()
    }
}
