//! Which base encoders there are: `manifest.toml` of the models folder, or the one compiled in where
//! that folder has none.
//!
//! An entry says where each file comes from and which SHA-256 it must have.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Error, sha256_of};

const NAME: &str = "manifest.toml";
const COMPILED_IN: &str = include_str!("../../models/manifest.toml");
/// The file that an adapter is a difference to.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// What every encoder is made of.
const NEEDED: [&str; 3] = ["config.json", "tokenizer.json", WEIGHTS];
/// The folder of the adapters, which lies among those of the encoders.
const ADAPTERS: &str = "adapters";

/// The encoders of one manifest, the default first.
pub(super) struct Manifest {
    path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    encoder: Vec<Entry>,
}

/// One encoder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) licence: String,
    /// The repository on the Hugging Face hub, and the commit it is read at.
    pub(super) hub: String,
    pub(super) revision: String,
    /// A Python wheel with the same files, and the folder within.
    pub(super) pip: Option<String>,
    #[serde(default)]
    pub(super) pip_folder: PathBuf,
    pub(super) file: Vec<File>,
}

/// One of its files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Manifest {
    /// Of a models folder.
    pub(super) fn read(models: &Path) -> Result<Self, Error> {
        let path = models.join(NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self::parse(&Path::new("models").join(NAME), COMPILED_IN)
            }
            Err(source) => Err(Error::File { action: "read", path, source }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let malformed = |source| Error::Malformed { path: path.to_owned(), what: "manifest of encoders", source };
        let document: Document = toml::from_str(text).map_err(|source| malformed(source.into()))?;
        let manifest = Self { path: path.to_owned(), entries: document.encoder };
        manifest.fault().map_or(Ok(manifest), |fault| Err(malformed(fault.into())))
    }

    /// What is wrong with it. Names become folders and files, so that they must be nothing else.
    fn fault(&self) -> Option<String> {
        if self.entries.is_empty() {
            return Some("it names no encoder".to_owned());
        }
        for (at, Entry { name, file, .. }) in self.entries.iter().enumerate() {
            if !is_plain(name) || name == ADAPTERS {
                return Some(format!("`{name}` can't be an encoder's name"));
            }
            if self.entries[..at].iter().any(|other| other.name == *name) {
                return Some(format!("`{name}` is there twice"));
            }
            if let Some(odd) = file.iter().find(|file| !is_plain(&file.path)) {
                return Some(format!("`{}` of `{name}` can't be a file's name", odd.path));
            }
            if let Some(missing) = NEEDED.into_iter().find(|needed| file.iter().all(|file| file.path != *needed)) {
                return Some(format!("`{name}` has no {missing}"));
            }
        }
        None
    }

    /// The encoder of that name, or the default.
    pub(super) fn entry(&self, name: Option<&str>) -> Result<&Entry, Error> {
        let found = match name {
            Some(name) => self.entries.iter().find(|entry| entry.name == name),
            None => self.entries.first(),
        };
        found.ok_or_else(|| Error::UnknownEncoder {
            name: name.unwrap_or_default().into(),
            manifest: self.path.clone(),
            known: self.entries.iter().map(|entry| entry.name.clone()).collect(),
        })
    }

    /// The encoder with those weights.
    pub(super) fn of_weights(&self, sha256: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.weights_sha256() == sha256)
    }
}

/// Letters, digits and `-_.`, the first no dot.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

impl Entry {
    pub(super) fn check(&self, dir: &Path) -> Result<(), Error> {
        self.file.iter().try_for_each(|file| file.check(&dir.join(&file.path)))
    }

    pub(super) fn weights_sha256(&self) -> &str {
        self.file.iter().find(|file| file.path == WEIGHTS).map_or("", |file| file.sha256.as_str())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.iter().map(|file| file.bytes).sum()
    }
}

impl File {
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let found = sha256_of(path)?;
        if found == self.sha256 {
            Ok(())
        } else {
            Err(Error::WrongHash { path: path.to_owned(), wanted: self.sha256.clone(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match Manifest::parse(Path::new(NAME), text) {
            Err(Error::Malformed { source, .. }) => source.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("taken"),
        }
    }

    #[test]
    fn a_manifest_that_could_write_elsewhere_or_lacks_a_file_is_refused() {
        let manifest = Manifest::parse(Path::new(NAME), COMPILED_IN).unwrap();
        let name = &manifest.entry(None).unwrap().name;
        assert_eq!(manifest.entry(Some(name)).unwrap().name, *name);
        for odd in ["../away", "adapters", "", ".hidden", "/etc"] {
            let text = COMPILED_IN.replace(&format!("name = \"{name}\""), &format!("name = \"{odd}\""));
            assert!(fault(&text).contains("encoder's name"), "{odd}");
        }
        assert!(fault(&COMPILED_IN.replace("\"tokenizer.json\"", "\"../tokenizer.json\"")).contains("file's name"));
        assert!(fault(&COMPILED_IN.replace("\"tokenizer.json\"", "\"vocab.txt\"")).contains("no tokenizer.json"));
        let twice = format!("{COMPILED_IN}\n{}", &COMPILED_IN[COMPILED_IN.find("[[encoder]]").unwrap()..]);
        assert!(fault(&twice).contains("twice"));
        assert!(fault("encoder = []").contains("no encoder"));
    }
}
