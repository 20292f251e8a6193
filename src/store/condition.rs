//! In what condition the database is: version, settings, and what a deployment rests on. `txcat doctor` says what to mend.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPoolOptions;

use super::{Error, Store};

/// The server and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCondition {
    /// As 170002 for 17.2.
    pub version: i32,
    /// Whether commits reach the disk.
    pub fsync: bool,
    /// Whether a torn page can be mended after a crash.
    pub full_page_writes: bool,
    /// When a commit is answered.
    pub synchronous_commit: String,
    /// Whether damaged pages are noticed.
    pub data_checksums: bool,
    /// Whether what is written is kept for recovery to a point in time.
    pub archive_mode: String,
    /// Connections that the server takes.
    pub max_connections: i32,
    /// Its clock.
    pub now: DateTime<Utc>,
    /// Bytes of the database.
    pub bytes: i64,
}

/// What a deployment rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentCondition {
    /// Merchants in the directory.
    pub merchants: i64,
    /// Taxonomies.
    pub taxonomies: i64,
    /// Champions without a file.
    pub champions_without_files: i64,
    /// Adapters in use that learned from rows which were erased since: name and version.
    pub erased_from: Vec<String>,
    /// Endpoints that are paused.
    pub paused_webhooks: i64,
}

impl Store {
    /// Connects to a database as it is, without bringing its schema up to date.
    ///
    /// # Errors
    /// When it can't be reached.
    pub async fn look(url: &str) -> Result<Self, Error> {
        let options = super::address(url)?.application_name("txcat doctor");
        Ok(Self { pool: PgPoolOptions::new().max_connections(1).connect_with(options).await? })
    }

    /// The server.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn server_condition(&self) -> Result<ServerCondition, Error> {
        let condition = sqlx::query_as!(
            ServerCondition,
            r#"select
                current_setting('server_version_num')::integer as "version!",
                current_setting('fsync')::boolean as "fsync!",
                current_setting('full_page_writes')::boolean as "full_page_writes!",
                current_setting('synchronous_commit') as "synchronous_commit!",
                current_setting('data_checksums')::boolean as "data_checksums!",
                current_setting('archive_mode') as "archive_mode!",
                current_setting('max_connections')::integer as "max_connections!",
                clock_timestamp() as "now!",
                pg_database_size(current_database()) as "bytes!""#
        );
        Ok(condition.fetch_one(&self.pool).await?)
    }

    /// What is in the database. The schema must be up to date.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn content_condition(&self) -> Result<ContentCondition, Error> {
        let condition = sqlx::query_as!(
            ContentCondition,
            r#"select
                (select count(*) from merchants) as "merchants!",
                (select count(*) from taxonomies) as "taxonomies!",
                (
                    select count(*) from adapters
                    where adapters.state = 'champion'
                    and not exists (select from adapter_files where adapter_files.adapter_id = adapters.id)
                ) as "champions_without_files!",
                array(
                    select adapters.name || '@' || adapters.version
                    from adapters
                    where adapters.erased_rows > 0
                    and adapters.state <> 'retired'
                    order by adapters.id
                ) as "erased_from!",
                (select count(*) from webhooks where paused_at is not null) as "paused_webhooks!""#
        );
        Ok(condition.fetch_one(&self.pool).await?)
    }
}
