//! Files and whatever else stays on a provider of OpenAI's format: created once, however often it is asked for.
//!
//! A file's name carries the hash of its lines, and what is created of it carries that hash as metadata. So before
//! anything is created, and again when the server did not say what became of a request, it is looked for.

use futures::future::BoxFuture;
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{Error, ModelEntry, Provider, call::Call, wire::Wire};

/// Pages of a list that are looked through, newest first.
const MOST_PAGES: usize = 50;
/// What the metadata of everything made here goes by.
pub(super) const MARK: &str = "txcat";

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

/// What a list is paged by.
pub(super) trait Listed: DeserializeOwned {
    fn id(&self) -> &str;
}

#[derive(Debug, Deserialize)]
struct File {
    id: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    filename: String,
    #[serde(default)]
    status: Option<String>,
}

impl Listed for File {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A way to everything that such a provider has beside chat.
pub(super) fn wire(entry: &ModelEntry) -> Result<Wire, Error> {
    if entry.provider != Provider::Openai {
        let says = "only providers of OpenAI's format have files, batches and fine-tuning";
        return Err(Error::Setting { model: entry.name.clone(), says });
    }
    Wire::new(entry, "", "authorization", reqwest::header::HeaderMap::new())
}

/// SHA-256 of a file's lines.
pub(super) fn hash(lines: &[u8]) -> String {
    hex::encode(Sha256::digest(lines))
}

/// Puts a file on the server, unless it is there, and says what it is called there. The lines must be covered.
pub(super) async fn upload(wire: &Wire, purpose: &str, lines: &[u8]) -> Result<String, Error> {
    let hash = hash(lines);
    let name = format!("{MARK}-{}.jsonl", &hash[..32]);
    let key = format!("{MARK}-{purpose}-{hash}");
    let same = |file: &File| {
        file.filename == name && file.bytes == lines.len() as u64 && file.status.as_deref() != Some("error")
    };
    let find = || -> BoxFuture<'_, Result<Option<File>, Error>> {
        Box::pin(find(wire, "/files", Some(("purpose", purpose)), same))
    };
    Ok(create_once(wire, &Call::upload(purpose, &name, lines, &key), find).await?.id)
}

/// Deletes a file.
pub(super) async fn delete(wire: &Wire, id: &str) -> Result<(), Error> {
    wire.call(&Call::delete(&format!("/files/{id}"))).await.map(|_| ())
}

/// Makes a request that creates something, unless it is there.
pub(super) async fn create_once<'a, T: DeserializeOwned>(
    wire: &Wire,
    call: &Call<'_>,
    find: impl Fn() -> BoxFuture<'a, Result<Option<T>, Error>>,
) -> Result<T, Error> {
    let mut waits = wire.waits();
    loop {
        if let Some(there) = find().await? {
            return Ok(there);
        }
        match wire.call(call).await {
            Ok(body) => return serde_json::from_value(body).map_err(Error::Protocol),
            Err(error) if error.may_pass() && error.doubtful() > 0 => match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

/// The first of a list that is meant.
pub(super) async fn find<T: Listed>(
    wire: &Wire,
    path: &str,
    filter: Option<(&str, &str)>,
    meant: impl Fn(&T) -> bool,
) -> Result<Option<T>, Error> {
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let Page { mut data, has_more } = page::<T>(wire, path, filter, after.as_deref()).await?;
        if let Some(place) = data.iter().position(&meant) {
            return Ok(Some(data.swap_remove(place)));
        }
        match data.last() {
            Some(last) if has_more => after = Some(last.id().to_owned()),
            _ => break,
        }
    }
    Ok(None)
}

/// All of a list, as it is ordered there; of a very long one the first pages.
pub(super) async fn all<T: Listed>(wire: &Wire, path: &str) -> Result<Vec<T>, Error> {
    let mut all: Vec<T> = Vec::new();
    for _ in 0..MOST_PAGES {
        let Page { data, has_more } = page::<T>(wire, path, None, all.last().map(Listed::id)).await?;
        let any = !data.is_empty();
        all.extend(data);
        if !(has_more && any) {
            break;
        }
    }
    Ok(all)
}

async fn page<T: Listed>(
    wire: &Wire,
    path: &str,
    filter: Option<(&str, &str)>,
    after: Option<&str>,
) -> Result<Page<T>, Error> {
    let mut query = vec![("limit", "100")];
    query.extend(filter);
    query.extend(after.map(|after| ("after", after)));
    serde_json::from_value(wire.call(&Call::get(path, &query)).await?).map_err(Error::Protocol)
}
