//! Who runs the server: we ourselves, or somebody unprivileged when we are root.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

use nix::unistd::{Gid, Uid, User};

use super::Error;

/// The user a server process gets; none when it simply gets ours.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    switch_to: Option<User>,
}

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}

impl ServerUser {
    /// The owner of an existing cluster, else `postgres`, else `nobody`.
    pub(super) fn choose(cluster: &Path) -> Result<Self, Error> {
        if !is_root() {
            return Ok(Self { switch_to: None });
        }
        let owner = cluster.metadata().ok().and_then(|metadata| User::from_uid(Uid::from_raw(metadata.uid())).ok()?);
        let user = owner
            .filter(|user| !user.uid.is_root())
            .or_else(|| User::from_name("postgres").ok().flatten())
            .or_else(|| User::from_name("nobody").ok().flatten())
            .ok_or(Error::NoUser)?;
        Ok(Self { switch_to: Some(user) })
    }

    /// A command that will run as this user, in a folder it can enter. The standard library clears
    /// root's supplementary groups when it switches.
    pub(super) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_remove("PGDATA").env("LC_ALL", "C");
        if let Some(user) = &self.switch_to {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", folder).env("USER", &user.name);
        }
        command
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.switch_to else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|source| Error::File { path: path.to_owned(), source })
    }

    /// Checks that this user can enter a folder from the root down.
    pub(super) fn check_reach(&self, folder: &Path) -> Result<(), Error> {
        let Some(user) = &self.switch_to else { return Ok(()) };
        for ancestor in folder.ancestors() {
            let Ok(metadata) = ancestor.metadata() else { continue };
            let needed = if metadata.uid() == user.uid.as_raw() {
                0o100
            } else if Gid::from_raw(metadata.gid()) == user.gid {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & needed == 0 {
                return Err(Error::Unreachable { folder: ancestor.to_owned(), user: user.name.clone() });
            }
        }
        Ok(())
    }
}
