//! The few file operations of the cluster, with errors that name the path.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::Error;

/// Names the path in an error.
pub(super) fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// A file to hold locks on; kept open, never removed, so that everybody locks the same one.
pub(super) fn lock_file(path: &Path) -> Result<File, Error> {
    at(path, OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path))
}

/// Writes a file whole or not at all, readable as `mode` says.
pub(super) fn write(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let part = path.with_extension("part");
    at(&part, remove(&part))?;
    let mut file = at(&part, OpenOptions::new().write(true).create_new(true).mode(mode).open(&part))?;
    at(&part, file.write_all(content.as_bytes()).and_then(|()| file.sync_all()))?;
    at(path, std::fs::rename(&part, path))
}

/// The content, or `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.to_owned(), source }),
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a folder that may not be there.
pub(super) fn remove_folder(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The last lines of a log from `start` on, on one line.
pub(super) fn tail(path: &Path, start: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.take(64 * 1024).read_to_end(&mut text)
    });
    if read.is_err() {
        return "(no log)".to_owned();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
