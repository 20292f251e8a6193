//! The merchant directory's table; matching is in memory, in `enrich`.

use super::{Error, Store, read, read_some};
use crate::domain::{Merchant, Slug};

impl Store {
    /// The whole directory, by identifier.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn merchants(&self) -> Result<Vec<Merchant>, Error> {
        let rows = sqlx::query!(
            "select
                id,
                name,
                aliases,
                kind,
                category,
                countries,
                wikidata
            from merchants
            order by id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Merchant {
                    id: row.id,
                    name: row.name,
                    aliases: row.aliases,
                    kind: row.kind,
                    category: read_some(row.category.as_deref(), "merchants.category")?,
                    countries: row
                        .countries
                        .iter()
                        .map(|country| read(country, "merchants.countries"))
                        .collect::<Result<_, _>>()?,
                    wikidata: row.wikidata,
                })
            })
            .collect()
    }

    /// A number that grows with every change of the directory.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merchants_version(&self) -> Result<i64, Error> {
        let version = sqlx::query_scalar!("select version from table_versions where table_name = 'merchants'")
            .fetch_one(&self.pool)
            .await?;
        Ok(version)
    }

    /// Adds merchants, and changes those whose identifier is there and whose facts differ. Returns how
    /// many were added or changed. Where an identifier comes twice, the last counts.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn upsert_merchants(&self, merchants: &[Merchant], source: &str) -> Result<u64, Error> {
        let mut sorted: Vec<&Merchant> = merchants.iter().rev().collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        sorted.dedup_by(|a, b| a.id == b.id);
        let ids: Vec<&str> = sorted.iter().map(|merchant| merchant.id.as_str()).collect();
        let names: Vec<&str> = sorted.iter().map(|merchant| merchant.name.as_str()).collect();
        // Postgres has no arrays of arrays of different lengths: lists travel as JSON.
        let aliases: Vec<_> = sorted.iter().map(|merchant| serde_json::json!(merchant.aliases)).collect();
        let kinds: Vec<&str> = sorted.iter().map(|merchant| merchant.kind.as_str()).collect();
        let categories: Vec<Option<&str>> =
            sorted.iter().map(|merchant| merchant.category.as_ref().map(Slug::as_str)).collect();
        let countries: Vec<_> = sorted.iter().map(|merchant| serde_json::json!(merchant.countries)).collect();
        let wikidata: Vec<Option<&str>> = sorted.iter().map(|merchant| merchant.wikidata.as_deref()).collect();
        let done = sqlx::query!(
            "insert into merchants (
                id,
                name,
                aliases,
                kind,
                category,
                countries,
                wikidata,
                source
            )
            select
                told.id,
                told.name,
                array(select jsonb_array_elements_text(told.aliases)),
                told.kind,
                told.category,
                array(select jsonb_array_elements_text(told.countries)),
                told.wikidata,
                $8
            from unnest(
                $1::text[],
                $2::text[],
                $3::jsonb[],
                $4::text[],
                $5::text[],
                $6::jsonb[],
                $7::text[]
            ) as told(id, name, aliases, kind, category, countries, wikidata)
            on conflict (id) do update set
                name = excluded.name,
                aliases = excluded.aliases,
                kind = excluded.kind,
                category = excluded.category,
                countries = excluded.countries,
                wikidata = excluded.wikidata,
                source = excluded.source
            where (
                merchants.name,
                merchants.aliases,
                merchants.kind,
                merchants.category,
                merchants.countries,
                merchants.wikidata,
                merchants.source
            ) is distinct from (
                excluded.name,
                excluded.aliases,
                excluded.kind,
                excluded.category,
                excluded.countries,
                excluded.wikidata,
                excluded.source
            )",
            &ids as &[&str],
            &names as &[&str],
            &aliases,
            &kinds as &[&str],
            &categories as &[Option<&str>],
            &countries,
            &wikidata as &[Option<&str>],
            source,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
