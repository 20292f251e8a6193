//! Finds or starts the Postgres that a laptop or a test uses.
//!
//! With a `DATABASE_URL` there is nothing to do. Without one a private cluster in txcat's data folder
//! is created once, started by the first txcat process that needs it, shared by the others, and
//! stopped by the last one out. It is not for production: that has a Postgres of its own.
//!
//! The kernel's file locks say who is there, and they end with a process however it ends: after a
//! `kill -9` the server goes on, and the next txcat adopts it.

mod binaries;
mod cluster;
mod files;
mod server;
mod user;

use std::path::{Path, PathBuf};

use crate::config;
use cluster::{Client, Cluster};

/// A running private Postgres, in use by this process until it is stopped or dropped.
#[derive(Debug)]
pub struct Postgres {
    client: Client,
}

/// What the server promises about a committed row when the machine loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Durable,
    /// Nothing, for the sake of speed: tests only.
    Forgetful,
}

/// Why there is no Postgres.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder to keep it in.
    #[error("no home folder to keep a database in: name one with --data-dir, or a Postgres with --database-url")]
    NoHome,
    /// No server here, and none could be fetched.
    #[error(
        "no PostgreSQL server is installed and none could be downloaded: \
         install PostgreSQL 13 or later (Debian and Ubuntu: apt install postgresql; macOS: brew install postgresql@17), \
         or name one with --database-url"
    )]
    NoServer {
        /// Why the download failed.
        #[source]
        source: postgresql_embedded::Error,
    },
    /// The cluster in the data folder is of another major version than any server here.
    #[error("{} was made by PostgreSQL {major}, which is not installed: install it, or name another folder with --data-dir", folder.display())]
    OtherVersion {
        /// The cluster's folder.
        folder: PathBuf,
        /// Its major version.
        major: u32,
    },
    /// Postgres refuses to run as root, and nobody else is there to run it.
    #[error(
        "PostgreSQL doesn't run as root, and neither a user `postgres` nor `nobody` exists to run it: create one, or use --database-url"
    )]
    NoUser,
    /// The user that is to run the server can't get there.
    #[error("the user `{user}`, which is to run PostgreSQL, can't enter {}: name another folder with --data-dir", folder.display())]
    Unreachable {
        /// The folder.
        folder: PathBuf,
        /// The user.
        user: String,
    },
    /// A file or folder of the cluster could not be used.
    #[error("can't use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program could not be run.
    #[error("can't run {}", program.display())]
    Run {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed: {message}")]
    Initialize {
        /// What it said last.
        message: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL did not start; its log is {}: {message}", log.display())]
    Start {
        /// Its log.
        log: PathBuf,
        /// What it said last.
        message: String,
    },
    /// The server did not stop.
    #[error("PostgreSQL (process {pid}) does not stop")]
    Stop {
        /// Its process id.
        pid: i32,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] rand::rand_core::OsError),
    /// The thread that did the work was lost.
    #[error("starting PostgreSQL was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl Postgres {
    /// Makes sure that the private Postgres of the configured data folder runs.
    ///
    /// # Errors
    /// When there is none and none can be had; the message says what to install or to name.
    pub async fn start(config: &config::Database) -> Result<Self, Error> {
        let folder = match &config.data_dir {
            Some(folder) => {
                std::path::absolute(folder).map_err(|source| Error::File { path: folder.clone(), source })?
            }
            None => default_folder()?,
        };
        Self::start_in(&folder, Durability::Durable).await
    }

    /// The same in a folder of the caller's choice. The first to start it settles its durability.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_in(folder: &Path, durability: Durability) -> Result<Self, Error> {
        let cluster = Cluster::new(folder, durability);
        let binaries = binaries::find_or_download(&cluster).await?;
        let client =
            tokio::task::spawn_blocking(move || cluster.enter(&binaries)).await.map_err(Error::Interrupted)??;
        Ok(Self { client })
    }

    /// The URL of one of its databases, with the password in it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.client.url(database)
    }

    /// Leaves; stops the server if nobody else is using it. Dropping does the same, but can't say
    /// that it failed.
    ///
    /// # Errors
    /// When the server should stop and doesn't.
    pub async fn stop(self) -> Result<(), Error> {
        tokio::task::spawn_blocking(move || self.client.leave()).await.map_err(Error::Interrupted)?
    }
}

/// The database that a command uses: the one it was told, or one in the private Postgres.
#[derive(Debug)]
pub struct Database {
    url: String,
    server: Option<Postgres>,
}

impl Database {
    /// Takes `DATABASE_URL`, or starts the private Postgres.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn open(config: &config::Database) -> Result<Self, Error> {
        match &config.url {
            Some(url) => Ok(Self { url: url.expose().to_owned(), server: None }),
            None => {
                let server = Postgres::start(config).await?;
                Ok(Self { url: server.url("txcat"), server: Some(server) })
            }
        }
    }

    /// Where to connect; holds a password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Leaves it, and stops the private Postgres if nobody else is using it.
    ///
    /// # Errors
    /// As [`Postgres::stop`].
    pub async fn close(self) -> Result<(), Error> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// The XDG data folder, or for root a system folder that the server's user can reach.
fn default_folder() -> Result<PathBuf, Error> {
    if user::is_root() {
        return Ok("/var/lib/txcat".into());
    }
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    named("XDG_DATA_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("txcat"))
        .ok_or(Error::NoHome)
}
