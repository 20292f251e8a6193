//! The cluster in the data folder: created once, entered and left by txcat processes.
//!
//! ```text
//! <data folder>/postgres.lock        held while entering or leaving: one at a time decides
//! <data folder>/postgres.clients     shared lock of everyone inside; who gets it alone is the last
//! <data folder>/postgres.password    the superuser's, for us only
//! <data folder>/postgres.{conf,log}
//! <data folder>/postgres/            the server user's: cluster/ and socket/
//! <data folder>/postgres-server/     a downloaded server, if none was installed
//! ```

use std::{
    fs::{File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use rand::{TryRngCore, rngs::OsRng};

use super::{
    Durability, Error,
    binaries::Binaries,
    files::{self, at},
    server::{Address, Server},
    user::ServerUser,
};

/// The cluster's superuser; also the one who connects.
const SUPERUSER: &str = "txcat";

/// Where everything of the private Postgres lies.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    folder: PathBuf,
    durability: Durability,
}

impl Cluster {
    pub(super) fn new(folder: &Path, durability: Durability) -> Self {
        Self { folder: folder.to_owned(), durability }
    }

    /// The server's data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.home().join("cluster")
    }

    /// Where a server is downloaded to.
    pub(super) fn downloads(&self) -> PathBuf {
        self.folder.join("postgres-server")
    }

    /// Where sockets are.
    pub(super) fn sockets(&self) -> PathBuf {
        self.home().join("socket")
    }

    /// The settings file, which we write and the server reads.
    pub(super) fn settings(&self) -> PathBuf {
        self.folder.join("postgres.conf")
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    /// The folder that belongs to the server's user.
    pub(super) fn home(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    fn password(&self) -> PathBuf {
        self.folder.join("postgres.password")
    }

    /// The major version that made the cluster, if it is there.
    pub(super) fn major_version(&self) -> Result<Option<u32>, Error> {
        let version = files::read(&self.data().join("PG_VERSION"))?;
        Ok(version.and_then(|version| version.trim().parse().ok()))
    }

    /// Makes sure that the server runs, and holds it until the client leaves.
    pub(super) fn enter(self, binaries: &Binaries) -> Result<Client, Error> {
        at(&self.folder, std::fs::create_dir_all(&self.folder))?;
        let door = self.door()?;
        let user = ServerUser::choose(&self.data())?;
        user.check_reach(&self.folder)?;
        let password = self.password_or_new()?;
        if self.major_version()?.is_none() {
            self.initialize(binaries, &user, &password)?;
        }
        let server = match Server::find(&self)? {
            Some(server) => server,
            None => Server::start(&self, binaries, &user)?,
        };
        let clients = self.clients()?;
        at(&self.folder, clients.lock_shared())?;
        drop(door);
        Ok(Client { cluster: self, address: server.address, password, clients: Some(clients) })
    }

    /// Waits for everybody else who is entering or leaving.
    fn door(&self) -> Result<File, Error> {
        let path = self.folder.join("postgres.lock");
        let door = files::lock_file(&path)?;
        at(&path, door.lock())?;
        Ok(door)
    }

    fn clients(&self) -> Result<File, Error> {
        files::lock_file(&self.folder.join("postgres.clients"))
    }

    fn password_or_new(&self) -> Result<String, Error> {
        let path = self.password();
        if let Some(password) = files::read(&path)? {
            return Ok(password);
        }
        if self.major_version()?.is_some() {
            // The cluster knows a password that we have lost.
            return Err(Error::File { path, source: std::io::Error::from(std::io::ErrorKind::NotFound) });
        }
        let mut secret = [0_u8; 32];
        OsRng.try_fill_bytes(&mut secret).map_err(Error::Random)?;
        let password = hex::encode(secret);
        files::write(&path, &password, 0o600)?;
        Ok(password)
    }

    /// Creates the cluster beside its place and moves it there, so that a half one is never found.
    fn initialize(&self, binaries: &Binaries, user: &ServerUser, password: &str) -> Result<(), Error> {
        let home = self.home();
        if !home.is_dir() {
            at(&home, std::fs::DirBuilder::new().mode(0o700).create(&home))?;
        }
        user.own(&home)?;
        let unfinished = home.join("cluster.new");
        at(&unfinished, files::remove_folder(&unfinished))?;
        let password_for_initdb = home.join("password");
        files::write(&password_for_initdb, password, 0o600)?;
        user.own(&password_for_initdb)?;
        let program = binaries.program("initdb");
        let mut command = user.command(&program, &home);
        command.arg("-D").arg(&unfinished).args(["-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale"]);
        command.arg("--pwfile").arg(&password_for_initdb).stdin(Stdio::null());
        if self.durability == Durability::Forgetful {
            command.arg("--no-sync");
        }
        let output = command.output();
        at(&password_for_initdb, files::remove(&password_for_initdb))?;
        let output = output.map_err(|source| Error::Run { program, source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let message = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
            return Err(Error::Initialize { message });
        }
        let data = self.data();
        // A folder without PG_VERSION is no cluster; initdb leaves none behind, but a person may.
        at(&data, files::remove_folder(&data))?;
        at(&data, std::fs::rename(&unfinished, &data))
    }
}

/// One process inside. Its shared lock ends with it, however it ends.
#[derive(Debug)]
pub(super) struct Client {
    cluster: Cluster,
    address: Address,
    password: String,
    clients: Option<File>,
}

impl Client {
    /// The URL of a database.
    pub(super) fn url(&self, database: &str) -> String {
        self.address.url(SUPERUSER, &self.password, database)
    }

    /// Leaves, and stops the server when nobody else is inside.
    pub(super) fn leave(mut self) -> Result<(), Error> {
        self.leave_once()
    }

    fn leave_once(&mut self) -> Result<(), Error> {
        let Some(clients) = self.clients.take() else { return Ok(()) };
        let door = self.cluster.door()?;
        at(&self.cluster.folder, clients.unlock())?;
        match clients.try_lock() {
            Ok(()) => {
                if let Some(server) = Server::find(&self.cluster)? {
                    server.stop(&self.cluster)?;
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(Error::File { path: self.cluster.folder.clone(), source });
            }
        }
        drop(door);
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Err(error) = self.leave_once() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the private PostgreSQL was not stopped");
        }
    }
}
