//! Where the server's programs are: installed already, or downloaded once.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use postgresql_embedded::{PostgreSQL, SettingsBuilder};

use super::{Error, cluster::Cluster, files};

/// The oldest major version whose SQL we use.
const OLDEST: u32 = 13;

/// A folder that holds both `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// The programs in a folder, if all are there. A lone `postgres` may be a link to where the others
    /// are, or a copy that belongs to another product.
    fn in_folder(folder: &Path) -> Option<Self> {
        let linked = folder.join("postgres").canonicalize().ok();
        let beside_target = linked.as_deref().and_then(Path::parent);
        beside_target.into_iter().chain([folder]).find_map(|folder| {
            let whole = ["postgres", "initdb", "pg_ctl"].iter().all(|program| folder.join(program).is_file());
            let major = whole.then(|| major_version(&folder.join("postgres")))??;
            (major >= OLDEST).then(|| Self { folder: folder.to_owned(), major })
        })
    }

    /// One program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Asks a server program for its version: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// Every place where servers are commonly installed: PATH first, then the folders of distributions.
fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    for (parent, prefix, below) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/usr/libexec", "postgresql", ""),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                folders.push(entry.path().join(below));
            }
        }
    }
    folders
}

/// The newest of what is installed; of the cluster's own major version where there is a cluster.
fn choose(found: Vec<Binaries>, made_by: Option<u32>) -> Option<Binaries> {
    found
        .into_iter()
        .filter(|binaries| made_by.is_none_or(|major| binaries.major == major))
        .reduce(|best, other| if other.major > best.major { other } else { best })
}

/// Finds programs that can run the cluster, or downloads them into its folder.
pub(super) async fn find_or_download(cluster: &Cluster) -> Result<Binaries, Error> {
    let made_by = cluster.major_version()?;
    let downloads = cluster.downloads();
    let downloaded =
        std::fs::read_dir(&downloads).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let mut found: Vec<Binaries> = Vec::new();
    for binaries in candidates().into_iter().chain(downloaded).filter_map(|folder| Binaries::in_folder(&folder)) {
        if !found.contains(&binaries) {
            found.push(binaries);
        }
    }
    match (choose(found, made_by), made_by) {
        (Some(binaries), _) => Ok(binaries),
        (None, Some(major)) => Err(Error::OtherVersion { folder: cluster.data(), major }),
        (None, None) => download(&downloads).await,
    }
}

/// Downloads a server, and nothing more: creating and running the cluster is ours.
async fn download(downloads: &Path) -> Result<Binaries, Error> {
    files::at(downloads, std::fs::create_dir_all(downloads))?;
    let scratch = files::at(downloads, tempfile::tempdir_in(downloads))?;
    // Setting up downloads the archive, checks its hash, unpacks it, and then runs initdb, which fails
    // as root and is of no use otherwise: what counts is whether the programs are there.
    let settings = SettingsBuilder::new()
        .installation_dir(scratch.path().join("server"))
        .data_dir(scratch.path().join("unused"))
        .password_file(scratch.path().join("password"))
        .temporary(true)
        .build();
    let mut postgres = PostgreSQL::new(settings);
    let outcome = postgres.setup().await;
    let unpacked = postgres.settings().binary_dir();
    if Binaries::in_folder(&unpacked).is_none() {
        let empty = || postgresql_embedded::Error::IoError("the archive holds no server".to_owned());
        return Err(Error::NoServer { source: outcome.err().unwrap_or_else(empty) });
    }
    let root = unpacked.parent().unwrap_or(&unpacked);
    let home = downloads.join(root.file_name().unwrap_or_else(|| "server".as_ref()));
    match std::fs::rename(root, &home) {
        Ok(()) => {}
        // Another process was as fast.
        Err(_) if Binaries::in_folder(&home.join("bin")).is_some() => {}
        Err(source) => return Err(Error::File { path: home, source }),
    }
    Binaries::in_folder(&home.join("bin"))
        .ok_or_else(|| Error::File { path: home.clone(), source: std::io::Error::from(std::io::ErrorKind::NotFound) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_servers_say() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(parse_major("something else 15"), None);
    }

    #[test]
    fn the_newest_server_is_chosen_and_an_existing_cluster_keeps_its_own() {
        let of = |major: u32| Binaries { folder: format!("/{major}").into(), major };
        assert_eq!(choose(vec![of(14), of(17), of(16)], None), Some(of(17)));
        assert_eq!(choose(vec![of(14), of(17), of(16)], Some(16)), Some(of(16)));
        assert_eq!(choose(vec![of(14)], Some(16)), None);
    }

    #[test]
    fn a_postgres_without_its_siblings_is_no_server() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 16.1'\n").unwrap();
        assert_eq!(Binaries::in_folder(folder.path()), None);
    }
}
