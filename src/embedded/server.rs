//! The server process of a cluster: found, started, stopped. Whoever calls holds the cluster's door.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    net::TcpListener,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    Durability, Error,
    binaries::Binaries,
    cluster::Cluster,
    files::{self, at},
    user::ServerUser,
};

/// Room for a socket's path in its address, less the final NUL.
const SOCKET_PATH_MAX: usize = 107;
/// Recovery after a crash may take a while.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG_MAX: u64 = 16 * 1024 * 1024;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// On a socket that only its user and root can reach.
    Socket { folder: PathBuf, port: u16 },
    /// On the loopback interface, where the folder's path is too long for a socket.
    Loopback { port: u16 },
}

/// A server that takes connections.
#[derive(Debug)]
pub(super) struct Server {
    pid: Pid,
    pub(super) address: Address,
}

/// What the server writes about itself into `postmaster.pid`.
struct PidFile {
    pid: Pid,
    address: Option<Address>,
    status: String,
}

impl Address {
    pub(super) fn url(&self, user: &str, password: &str, database: &str) -> String {
        match self {
            Self::Socket { folder, port } => {
                let mut host = String::new();
                for &byte in folder.as_os_str().as_bytes() {
                    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                        host.push(char::from(byte));
                    } else {
                        let _ = write!(host, "%{byte:02X}");
                    }
                }
                format!("postgres://{user}:{password}@localhost:{port}/{database}?host={host}")
            }
            Self::Loopback { port } => format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}"),
        }
    }

    /// A socket where its path fits and needs no quoting, else a free port.
    fn choose(sockets: &Path) -> Result<Self, Error> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_.+@ ".contains(byte) || *byte >= 0x80;
        let path = sockets.as_os_str().as_bytes();
        if path.len() + "/.s.PGSQL.5432".len() <= SOCKET_PATH_MAX && path.iter().all(plain) {
            return Ok(Self::Socket { folder: sockets.to_owned(), port: 5432 });
        }
        let free = at(sockets, TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()))?;
        Ok(Self::Loopback { port: free.port() })
    }

    fn settings(&self) -> String {
        match self {
            Self::Socket { folder, port } => format!(
                "listen_addresses = ''\nunix_socket_directories = '{}'\nunix_socket_permissions = 0700\nport = {port}\n",
                folder.display()
            ),
            Self::Loopback { port } => {
                format!("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nport = {port}\n")
            }
        }
    }
}

impl PidFile {
    fn read(data: &Path) -> Result<Option<Self>, Error> {
        Ok(files::read(&data.join("postmaster.pid"))?.and_then(|text| Self::parse(&text)))
    }

    /// Lines: pid, data directory, start time, port, socket folder, listen address, shared memory,
    /// status. The later ones are added while the server starts.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let line = |number: usize| lines.get(number).copied().unwrap_or_default();
        let pid = line(0).parse().ok().filter(|pid| *pid > 1)?;
        let address = line(3).parse().ok().map(|port| match line(4) {
            "" => Address::Loopback { port },
            folder => Address::Socket { folder: folder.into(), port },
        });
        Some(Self { pid: Pid::from_raw(pid), address, status: line(7).to_owned() })
    }
}

impl Server {
    /// The server that runs this cluster, waited for if it is on its way up or down. A pid file whose
    /// process is gone, or is somebody else by now, is removed.
    pub(super) fn find(cluster: &Cluster) -> Result<Option<Self>, Error> {
        let data = cluster.data();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match PidFile::read(&data)? {
                Some(file) if is_server(file.pid, &data) => {
                    if let (Some(address), "ready") = (file.address, file.status.as_str()) {
                        return Ok(Some(Self { pid: file.pid, address }));
                    }
                }
                _ => {
                    let stale = data.join("postmaster.pid");
                    at(&stale, files::remove(&stale))?;
                    return Ok(None);
                }
            }
            pause();
        }
        Err(Error::Start { log: cluster.log(), message: "it is neither up nor down".to_owned() })
    }

    /// Starts the server. Nobody else does at the same time, and none is running.
    pub(super) fn start(cluster: &Cluster, binaries: &Binaries, user: &ServerUser) -> Result<Self, Error> {
        let mut last = None;
        // A free port may be taken in between; after a crash the old server's children may hold its
        // memory for a moment.
        for _ in 0..3 {
            match Self::start_once(cluster, binaries, user) {
                Err(Error::Start { log, message }) => last = Some(Error::Start { log, message }),
                other => return other,
            }
            for _ in 0..20 {
                pause();
            }
        }
        Err(last.unwrap_or(Error::Start { log: cluster.log(), message: "no answer".to_owned() }))
    }

    fn start_once(cluster: &Cluster, binaries: &Binaries, user: &ServerUser) -> Result<Self, Error> {
        let sockets = cluster.sockets();
        at(&sockets, files::remove_folder(&sockets))?;
        at(&sockets, std::fs::create_dir(&sockets))?;
        user.own(&sockets)?;
        let settings = settings(&Address::choose(&sockets)?, cluster.durability());
        files::write(&cluster.settings(), &settings, 0o644)?;

        let log_path = cluster.log();
        let log = at(&log_path, OpenOptions::new().append(true).create(true).open(&log_path))?;
        let mut log_start = at(&log_path, log.metadata())?.len();
        if log_start > LOG_MAX {
            at(&log_path, log.set_len(0))?;
            log_start = 0;
        }
        let errors = at(&log_path, log.try_clone())?;
        let program = binaries.program("postgres");
        let mut child = user
            .command(&program, &cluster.home())
            .arg("-D")
            .arg(cluster.data())
            .arg("-c")
            .arg(format!("config_file={}", cluster.settings().display()))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C at the terminal is for us alone.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Run { program: program.clone(), source })?;

        let begun = Instant::now();
        loop {
            let ended = child.try_wait().map_err(|source| Error::Run { program: program.clone(), source })?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::Start { message: files::tail(&log_path, log_start), log: log_path });
            }
            match PidFile::read(&cluster.data())? {
                Some(PidFile { pid, address: Some(address), status })
                    if status == "ready" && u32::try_from(pid.as_raw()) == Ok(child.id()) =>
                {
                    // Somebody has to collect it when it ends, whoever stops it.
                    std::thread::spawn(move || child.wait());
                    return Ok(Self { pid, address });
                }
                _ => pause(),
            }
        }
    }

    /// Ends its sessions and shuts it down cleanly; if that takes too long, less cleanly.
    pub(super) fn stop(self, cluster: &Cluster) -> Result<(), Error> {
        for (signal, patience) in [(Signal::SIGINT, PATIENCE), (Signal::SIGQUIT, PATIENCE / 6)] {
            if kill(self.pid, signal).is_err() {
                return Ok(());
            }
            let begun = Instant::now();
            while begun.elapsed() < patience {
                if !is_server(self.pid, &cluster.data()) {
                    return Ok(());
                }
                pause();
            }
        }
        Err(Error::Stop { pid: self.pid.as_raw() })
    }
}

fn settings(address: &Address, durability: Durability) -> String {
    let mut settings = String::from("# Written anew at every start of the private PostgreSQL.\n");
    settings += &address.settings();
    settings += "password_encryption = 'scram-sha-256'\n\
        max_connections = 200\n\
        max_wal_size = '2GB'\n\
        timezone = 'UTC'\n\
        log_timezone = 'UTC'\n\
        log_checkpoints = off\n";
    if durability == Durability::Forgetful {
        settings += "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\n";
    }
    settings
}

/// Whether a process is the server of this data directory: numbers of processes are used again.
fn is_server(pid: Pid, data: &Path) -> bool {
    let told: Vec<Vec<u8>> = if Path::new("/proc/self").exists() {
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    } else {
        let output = std::process::Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
        let Ok(output) = output else { return false };
        let line = output.stdout;
        let data = data.as_os_str().as_bytes();
        let mentioned = line.windows(data.len()).any(|part| part == data);
        return mentioned && line.windows(8).any(|part| part == b"postgres");
    };
    let program = told.first().map(Vec::as_slice).unwrap_or_default();
    program.ends_with(b"postgres") && told.iter().any(|argument| argument == data.as_os_str().as_bytes())
}

#[expect(clippy::disallowed_methods, reason = "polls another process, on a thread that may block")]
fn pause() {
    std::thread::sleep(Duration::from_millis(25));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_at_every_stage_of_its_writing() {
        let whole = "4711\n/data/cluster\n1700000000\n5432\n/data/socket\n\n  2099305   32777\nready   \n";
        let file = PidFile::parse(whole).unwrap();
        assert_eq!(file.pid, Pid::from_raw(4711));
        assert_eq!(file.address, Some(Address::Socket { folder: "/data/socket".into(), port: 5432 }));
        assert_eq!(file.status, "ready");
        let begun = PidFile::parse("4711\n/data/cluster\n1700000000\n").unwrap();
        assert_eq!((begun.address, begun.status.as_str()), (None, ""));
        assert!(PidFile::parse("").is_none());
        assert!(PidFile::parse("-1\n").is_none());
    }

    #[test]
    fn a_socket_is_used_where_its_path_fits() {
        let short = Address::choose(Path::new("/var/lib/txcat/postgres/socket")).unwrap();
        assert!(matches!(short, Address::Socket { .. }));
        let long = Address::choose(&Path::new("/").join("x".repeat(100))).unwrap();
        assert!(matches!(long, Address::Loopback { port } if port > 0));
        let strange = Address::choose(Path::new("/tmp/it's, here")).unwrap();
        assert!(matches!(strange, Address::Loopback { .. }));
    }

    #[test]
    fn a_socket_folder_stands_in_the_url_percent_encoded() {
        let address = Address::Socket { folder: "/tmp/my data".into(), port: 5432 };
        assert_eq!(
            address.url("txcat", "secret", "db"),
            "postgres://txcat:secret@localhost:5432/db?host=%2Ftmp%2Fmy%20data"
        );
    }

    #[test]
    fn a_process_that_is_not_the_server_is_not_taken_for_it() {
        assert!(!is_server(nix::unistd::getpid(), Path::new("/data")));
        assert!(!is_server(Pid::from_raw(i32::MAX), Path::new("/data")));
    }
}
