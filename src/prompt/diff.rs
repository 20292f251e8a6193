//! Two prompt folders side by side, line by line.

use std::{fmt::Write as _, fs, path::Path};

use similar::TextDiff;

use super::{Error, FILES};

/// What changed from one folder to another, as a unified diff; empty where nothing did.
///
/// # Errors
/// When a file can't be read.
pub fn diff(old: &Path, new: &Path) -> Result<String, Error> {
    let mut text = String::new();
    for name in FILES {
        let read = |dir: &Path| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
        };
        let (before, after) = (read(old)?, read(new)?);
        if before != after {
            let (from, to) = (old.join(name), new.join(name));
            let diff = TextDiff::from_lines(&before, &after);
            let _ = write!(
                text,
                "{}",
                diff.unified_diff().context_radius(2).header(&from.display().to_string(), &to.display().to_string())
            );
        }
    }
    Ok(text)
}
