//! From a folder of rows to a folder of answers, a file at a time.
//!
//! A file is one query, and its answers lie under the same name below `to`. A file is there whole or not at all (stores
//! put an object in place when it is complete), so that `resume` need only look at names. Rows stream: what is in memory
//! depends on the rows of a batch and on how many files are worked on at once, not on how many rows there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{array::AsArray, datatypes::UInt64Type},
    dataframe::DataFrameWriteOptions,
    datasource::listing::ListingTableUrl,
    error::DataFusionError,
    logical_expr::ScalarUDF,
    prelude::{ParquetReadOptions, SessionContext},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;

use super::{Asked, Error, columns};
use crate::evaluate::columns::Mapping;

/// Where rows come from and where answers go.
#[derive(Debug)]
pub struct Folders {
    from: ListingTableUrl,
    to: ListingTableUrl,
}

/// How the rows of a folder are answered.
#[derive(Debug)]
pub struct Work {
    /// The function `categorize`.
    pub categorize: Arc<ScalarUDF>,
    /// What it is asked for.
    pub asked: Asked,
    /// Which columns the fields are in.
    pub mapping: Mapping,
    /// Files worked on at the same time.
    pub at_once: usize,
    /// Whether files that are there already are left as they are.
    pub resume: bool,
}

impl Folders {
    /// Reads two places: a folder, a file, a pattern such as `rows/2026-*.parquet`, or the same on S3; and a folder,
    /// which is made where it is on this machine.
    ///
    /// # Errors
    /// When a place is none, or one lies in the other.
    pub fn new(from: &str, to: &str) -> Result<Self, Error> {
        let slash = if to.ends_with('/') { "" } else { "/" };
        let folders = Self { from: place(from)?, to: place(&format!("{to}{slash}"))? };
        let (rows, answers) = (folders.from.prefix(), folders.to.prefix());
        let same_store = folders.from.object_store() == folders.to.object_store();
        if same_store && (rows.prefix_matches(answers) || answers.prefix_matches(rows)) {
            return Err(Error::Overlap { from: from.to_owned(), to: to.to_owned() });
        }
        if !to.contains("://") {
            std::fs::create_dir_all(to).map_err(|source| Error::Folder { place: to.to_owned(), source })?;
        }
        Ok(folders)
    }

    /// Answers every file's rows. `told` hears of each finished file: files done, of how many, and its rows. Gives the
    /// addresses of the files with the answers, those included that were there.
    ///
    /// # Errors
    /// When there is nothing to read, something is there already and shall not be left, or a file fails; the other
    /// files that are whole by then stay.
    pub async fn run(
        &self,
        session: &SessionContext,
        work: &Work,
        told: &(dyn Fn(usize, usize, u64) + Sync),
    ) -> Result<Vec<String>, Error> {
        let rows = self.named(session, &self.from).await?;
        if rows.is_empty() {
            return Err(Error::Nothing { place: self.from.to_string() });
        }
        let there: BTreeSet<String> = self.named(session, &self.to).await?.into_keys().collect();
        let known: Vec<&String> = rows.keys().filter(|name| there.contains(*name)).collect();
        if let (Some(name), false) = (known.first(), work.resume) {
            return Err(Error::There { to: self.to.to_string(), count: known.len(), name: (*name).clone() });
        }
        let asked = serde_json::to_string(&work.asked)?;
        let wanted: Vec<(&String, &Path)> = rows.iter().filter(|(name, _)| !there.contains(*name)).collect();
        let all = wanted.len();
        let mut files = stream::iter(wanted)
            .map(|(name, path)| self.file(session, work, &asked, name, path))
            .buffer_unordered(work.at_once.max(1))
            .enumerate();
        while let Some((done, rows)) = files.next().await {
            told(done + 1, all, rows?);
        }
        Ok(rows.keys().map(|name| self.answers(name)).collect())
    }

    async fn file(
        &self,
        session: &SessionContext,
        work: &Work,
        asked: &str,
        name: &str,
        path: &Path,
    ) -> Result<u64, Error> {
        let file = address(&self.from, path);
        let failed = |source: DataFusionError| Error::File { file: file.clone(), source: Box::new(source) };
        let table = session.read_parquet(&file, ParquetReadOptions::default()).await.map_err(failed)?;
        let missing = columns::missing(&table, &work.mapping);
        if !missing.is_empty() {
            return Err(Error::Columns { file, missing });
        }
        let answers = columns::answered(table, &work.mapping, asked, &work.categorize).map_err(failed)?;
        let options = DataFrameWriteOptions::new().with_single_file_output(true);
        let counts = answers.write_parquet(&self.answers(name), options, None).await.map_err(failed)?;
        let count = |batch: &datafusion::arrow::array::RecordBatch| {
            let counts = batch.column(0).as_primitive_opt::<UInt64Type>()?;
            Some(counts.iter().flatten().sum::<u64>())
        };
        Ok(counts.iter().filter_map(count).sum())
    }

    /// A place's Parquet files, by their names below it.
    async fn named(&self, session: &SessionContext, at: &ListingTableUrl) -> Result<BTreeMap<String, Path>, Error> {
        let failed = |source| Error::Place { place: at.to_string(), source: Box::new(source) };
        let state = session.state();
        let store = session.runtime_env().object_store(at.object_store()).map_err(failed)?;
        let listed = at.list_all_files(&state, store.as_ref(), ".parquet").await.map_err(failed)?;
        let found: Vec<_> = listed.try_collect().await.map_err(failed)?;
        let mut named = BTreeMap::new();
        for file in found {
            let below = at.strip_prefix(&file.location).map(|parts| parts.collect::<Vec<_>>().join("/"));
            let name = below.filter(|name| !name.is_empty());
            let name = name.or_else(|| file.location.filename().map(str::to_owned)).unwrap_or_default();
            if let Some(other) = named.insert(name.clone(), file.location) {
                tracing::debug!(file = %other, "Two files of one name");
                return Err(Error::Twice { name });
            }
        }
        Ok(named)
    }

    fn answers(&self, name: &str) -> String {
        let path = self.to.prefix().parts().chain(Path::from(name).parts()).collect();
        address(&self.to, &path)
    }
}

/// A path of a place's store as a URL.
fn address(place: &ListingTableUrl, path: &Path) -> String {
    let mut url = place.get_url().clone();
    url.set_path(&format!("/{}", path.as_ref().replace('%', "%25")));
    url.to_string()
}

/// A folder, a file or a pattern, here or on S3.
fn place(text: &str) -> Result<ListingTableUrl, Error> {
    let failed = |source| Error::Place { place: text.to_owned(), source: Box::new(source) };
    let pattern = text.contains("://").then(|| text.find(['*', '?', '['])).flatten();
    let Some(pattern) = pattern else { return ListingTableUrl::parse(text).map_err(failed) };
    let folder = text[..pattern].rfind('/').map_or(0, |slash| slash + 1);
    ListingTableUrl::parse(&text[..folder]).and_then(|url| url.with_glob(&text[folder..])).map_err(failed)
}
