//! A worker beside a test, and a Postgres server that a test may kill.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::unistd::{Uid, User};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use txcat::{
    events::{Deliverer, Patience},
    jobs::{
        Cron, Hands,
        worker::{self, Options},
    },
    pipeline::Pipeline,
    store::Store,
};

use super::App;

/// A worker that does so many jobs at a time, until what is returned is dropped.
pub(crate) fn work(store: &Store, pipeline: &Arc<Pipeline>, concurrency: usize) -> DropGuard {
    let stop = CancellationToken::new();
    let patience =
        Patience { first: Duration::from_millis(5), longest: Duration::from_millis(40), ..Patience::default() };
    let hands = Hands {
        store: store.clone(),
        pipeline: Arc::clone(pipeline),
        deliverer: Deliverer::new(store.clone(), patience).unwrap(),
        stop: stop.clone(),
    };
    let how = Options {
        concurrency,
        lease: Duration::from_secs(5),
        drain: Duration::from_secs(5),
        poll: Duration::from_millis(20),
        cron: Cron::default(),
    };
    tokio::spawn(worker::run(hands, how));
    stop.drop_guard()
}

impl App {
    /// A worker on this service's database, until what is returned is dropped.
    pub(crate) fn work(&self) -> DropGuard {
        work(&self.store, &self.pipeline, 2)
    }
}

/// A server of a test's own, on a port of its own.
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    user: Option<User>,
    port: u16,
    process: Child,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| String::new()).await
    }

    /// With these lines more in `postgresql.conf`, made of the folder that the server may write to.
    pub(crate) async fn start_with(settings: impl FnOnce(&Path) -> String) -> Self {
        Self::prepared(|programs, user, folder| {
            let data = folder.join("data");
            succeed(
                as_user(&programs.join("initdb"), user)
                    .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
                    .arg(&data)
                    .current_dir(folder),
            );
            append(&data.join("postgresql.conf"), &settings(folder));
        })
        .await
    }

    /// On a copy of what [`Server::back_up`] made, which recovers as these lines of `postgresql.conf` say.
    pub(crate) async fn restored(backup: &Path, settings: &str) -> Self {
        Self::prepared(|_, user, folder| {
            let data = folder.join("data");
            succeed(as_user(Path::new("cp"), user).arg("-a").arg(backup).arg(&data).current_dir(folder));
            append(&data.join("postgresql.conf"), settings);
            succeed(as_user(Path::new("touch"), user).arg(data.join("recovery.signal")).current_dir(folder));
        })
        .await
    }

    /// Copies the whole server into `to`, below its own folder, while it runs.
    pub(crate) fn back_up(&self, to: &str) -> PathBuf {
        let to = self.folder.path().join(to);
        succeed(
            as_user(&self.programs.join("pg_basebackup"), self.user.as_ref())
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "--checkpoint=fast", "-D"])
                .arg(&to)
                .current_dir(self.folder.path()),
        );
        to
    }

    /// The folder that the server may write to.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server on what `prepare` puts into the folder `data` of a folder that the server's user may write to.
    async fn prepared(prepare: impl FnOnce(&Path, Option<&User>, &Path)) -> Self {
        let programs = programs();
        // Postgres does not run as root.
        let user = Uid::effective().is_root().then(|| {
            let of = |name| User::from_name(name).unwrap();
            of("postgres").or_else(|| of("nobody")).unwrap()
        });
        let folder = tempfile::Builder::new().prefix("txcat-server-").tempdir().unwrap();
        if let Some(user) = &user {
            nix::unistd::chown(folder.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        prepare(&programs, user.as_ref(), folder.path());
        let process = run(&programs, user.as_ref(), folder.path(), port);
        let server = Self { folder, programs, user, port, process };
        server.ready().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/txcat", self.port)
    }

    /// `kill -9`, and a start.
    pub(crate) async fn kill_and_start(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // It refuses to start as long as a process of the last one lives.
        loop {
            self.process = run(&self.programs, self.user.as_ref(), self.folder.path(), self.port);
            if self.answers().await {
                return;
            }
        }
    }

    async fn ready(&self) {
        while PgConnection::connect(&self.admin_url()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until it answers, or has ended.
    async fn answers(&mut self) -> bool {
        loop {
            if PgConnection::connect(&self.admin_url()).await.is_ok() {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::task::yield_now().await;
        }
    }

    fn admin_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.process.id().cast_signed()),
            nix::sys::signal::Signal::SIGQUIT,
        );
        let _ = self.process.wait();
    }
}

/// Where the server's programs are: on the path, or where Debian puts them.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.map(|version| version.unwrap().path().join("bin")));
    }
    folders.into_iter().rev().find(|folder| folder.join("initdb").exists()).expect("a Postgres server is installed")
}

fn succeed(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn append(file: &Path, lines: &str) {
    let before = fs::read_to_string(file).unwrap();
    fs::write(file, format!("{before}\n{lines}\n")).unwrap();
}

fn as_user(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn run(programs: &Path, user: Option<&User>, folder: &Path, port: u16) -> Child {
    as_user(&programs.join("postgres"), user)
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-k"])
        .arg(folder)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
