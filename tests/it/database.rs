//! One cluster for the run, one database for each test: the product's own embedded Postgres.
//!
//! `txcat database` holds the cluster for this process. It stops when its input ends, and that ends
//! with this process, however it ends; what a killed run left behind, the next one drops.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;
use txcat::store::Store;

use crate::harness::txcat;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of a test's own. It is dropped with this.
pub(crate) struct TestDatabase {
    /// Where to connect.
    pub(crate) url: String,
    name: String,
    admin_url: String,
}

impl TestDatabase {
    /// Its name, which stands in the URL once.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

struct Cluster {
    /// With `DATABASE` where a database's name belongs.
    url: String,
    /// A database with the schema in it, to copy.
    template: String,
    _holder: Child,
}

/// A database with the schema and nothing else in it.
pub(crate) async fn fresh_database() -> TestDatabase {
    let cluster = CLUSTER.get_or_init(Cluster::start).await;
    cluster.create(Some(&cluster.template)).await
}

/// A database without even the schema.
pub(crate) async fn empty_database() -> TestDatabase {
    CLUSTER.get_or_init(Cluster::start).await.create(None).await
}

/// A store on a database of its own.
pub(crate) async fn fresh_store() -> (Store, TestDatabase) {
    let database = fresh_database().await;
    (Store::connect(&database.url, 8).await.unwrap(), database)
}

impl Cluster {
    async fn start() -> Self {
        // The folder has to be within reach of the unprivileged user that runs the server for root,
        // which a checkout in root's home is not.
        let folder: PathBuf = std::env::temp_dir().join(format!("txcat-tests-{}", nix::unistd::Uid::effective()));
        let mut holder = txcat(&["database", "--forgetful", "--name", "DATABASE", "--data-dir"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("postgres://"), "the test cluster did not start: see above");
        let mut cluster = Self { url: url.trim().to_owned(), template: String::new(), _holder: holder };
        cluster.drop_leftovers().await;
        cluster.template = cluster.migrated_template().await;
        cluster
    }

    fn url(&self, database: &str) -> String {
        self.url.replace("DATABASE", database)
    }

    async fn create(&self, template: Option<&str>) -> TestDatabase {
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin_url = self.url("postgres");
        let template = template.unwrap_or("template1");
        run(&admin_url, &format!("create database {name} template {template}")).await;
        TestDatabase { url: self.url(&name), name, admin_url }
    }

    /// Databases of processes that are gone.
    async fn drop_leftovers(&self) {
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let names: Vec<String> = sqlx::query_scalar("select datname from pg_database where datname like 'test\\_%'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
        for name in names {
            let process = name.split('_').nth(1).and_then(|pid| pid.parse().ok()).map(nix::unistd::Pid::from_raw);
            if process.is_none_or(|process| nix::sys::signal::kill(process, None).is_err()) {
                run(&self.url("postgres"), &format!("drop database if exists {name} with (force)")).await;
            }
        }
    }

    /// A database with the schema, made once for each state of `migrations/`.
    async fn migrated_template(&self) -> String {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir("migrations").unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            hash.update(std::fs::read(file).unwrap());
        }
        let name = format!("template_{}", hex::encode(&hash.finalize()[..6]));
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        // Test processes of several checkouts may share the cluster.
        sqlx::query("select pg_advisory_lock(8020)").execute(&mut admin).await.unwrap();
        let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(&name)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        if !exists {
            let unfinished = format!("unfinished_{name}");
            run(&self.url("postgres"), &format!("drop database if exists {unfinished} with (force)")).await;
            Store::connect(&self.url(&unfinished), 1).await.unwrap().close().await;
            run(&self.url("postgres"), &format!("alter database {unfinished} rename to {name}")).await;
        }
        admin.close().await.unwrap();
        name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (name, admin_url) = (std::mem::take(&mut self.name), std::mem::take(&mut self.admin_url));
        // Dropping can't wait on the test's own runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(&admin_url, &format!("drop database if exists {name} with (force)")));
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            eprintln!("a test database was left behind; the next run drops it");
        }
    }
}

/// Runs one statement that names a database, which can't be a parameter. Renaming and copying wait
/// until the server has noticed that a closed connection is gone.
async fn run(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for attempt in 0.. {
        match sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await {
            Ok(_) => break,
            Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("55006") && attempt < 3_000 => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{statement}: {error}"),
        }
    }
    connection.close().await.unwrap();
}
