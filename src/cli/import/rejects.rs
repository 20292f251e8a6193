//! `FILE.rejects.jsonl`: the rows that could not be taken, each with its line and the reason.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;

/// Writes rejects; the file is made with the first one.
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    /// The column that a field is taken from, as the file calls it.
    columns: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Reject<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<&'a str>,
    reason: &'a str,
}

impl Rejects {
    /// Removes what an earlier run left.
    pub(super) fn new(imported: &Path, columns: BTreeMap<&'static str, String>) -> anyhow::Result<Self> {
        let mut path = imported.as_os_str().to_owned();
        path.push(".rejects.jsonl");
        let path = PathBuf::from(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("can't remove {}", path.display()))
            }
            _ => Ok(Self { path, file: None, columns }),
        }
    }

    /// Writes one.
    pub(super) fn write(
        &mut self,
        line: u64,
        id: Option<&str>,
        field: Option<&str>,
        reason: &str,
    ) -> anyhow::Result<()> {
        let shown = || format!("can't write {}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(File::create(&self.path).with_context(shown)?)),
        };
        let column = field.and_then(|field| self.columns.get(field)).map(String::as_str);
        serde_json::to_writer(&mut *file, &Reject { line, id, field, column, reason }).with_context(shown)?;
        file.write_all(b"\n").with_context(shown)
    }

    /// Closes the file, and says where it is if there is one.
    pub(super) fn finish(self) -> anyhow::Result<String> {
        let Some(mut file) = self.file else { return Ok(String::new()) };
        file.flush().with_context(|| format!("can't write {}", self.path.display()))?;
        Ok(format!(" (see {})", self.path.display()))
    }
}
