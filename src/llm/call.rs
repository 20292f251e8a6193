//! One request to a provider: where to, what it carries, and whether it may be sent twice.

use std::time::Duration;

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::Value;

use super::Error;

/// Time beyond the model's own that a file may take to come.
const DOWNLOAD: Duration = Duration::from_secs(600);

/// One request: where to, and what it carries.
pub(super) struct Call<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    content: Content<'a>,
    /// Tells the server that two requests are one; only such requests create what stays there.
    key: Option<&'a str>,
}

enum Content<'a> {
    Nothing,
    Json(&'a Value),
    File { purpose: &'a str, name: &'a str, lines: &'a [u8] },
}

impl<'a> Call<'a> {
    fn of(method: Method, path: &'a str, content: Content<'a>, key: Option<&'a str>) -> Self {
        Self { method, path, query: &[], content, key }
    }

    pub(super) fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..Self::of(Method::GET, path, Content::Nothing, None) }
    }

    pub(super) fn delete(path: &'a str) -> Self {
        Self::of(Method::DELETE, path, Content::Nothing, None)
    }

    /// A request that may be sent twice.
    pub(super) fn post(path: &'a str, body: &'a Value) -> Self {
        Self::of(Method::POST, path, Content::Json(body), None)
    }

    /// A request without a body that may be sent twice.
    pub(super) fn act(path: &'a str) -> Self {
        Self::of(Method::POST, path, Content::Nothing, None)
    }

    /// A request that creates what stays on the server.
    pub(super) fn create(path: &'a str, body: &'a Value, key: &'a str) -> Self {
        Self::of(Method::POST, path, Content::Json(body), Some(key))
    }

    /// A request that puts a file on the server. Its lines must be covered.
    pub(super) fn upload(purpose: &'a str, name: &'a str, lines: &'a [u8], key: &'a str) -> Self {
        Self::of(Method::POST, "/files", Content::File { purpose, name, lines }, Some(key))
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &str {
        self.path
    }

    /// Whether it creates what stays on the server.
    pub(super) fn creates(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a whole file comes back.
    pub(super) fn is_download(&self) -> bool {
        self.path.ends_with("/content")
    }

    /// Time beyond the model's own that large content takes: an upload at a megabyte a second.
    pub(super) fn longer(&self) -> Duration {
        match &self.content {
            Content::File { lines, .. } => Duration::from_secs(lines.len() as u64 / 1_000_000),
            Content::Nothing | Content::Json(_) if self.is_download() => DOWNLOAD,
            Content::Nothing | Content::Json(_) => Duration::ZERO,
        }
    }

    pub(super) fn request(
        &self,
        client: &reqwest::Client,
        url: &str,
        query: &[(String, String)],
    ) -> Result<reqwest::RequestBuilder, Error> {
        let request = client.request(self.method.clone(), url).query(query).query(self.query);
        let request = match &self.content {
            Content::Nothing => request,
            Content::Json(body) => request.json(body),
            Content::File { purpose, name, lines } => {
                let file = Part::bytes(lines.to_vec()).file_name((*name).to_owned());
                let file = file.mime_str("application/jsonl").map_err(Error::Client)?;
                request.multipart(Form::new().text("purpose", (*purpose).to_owned()).part("file", file))
            }
        };
        Ok(match self.key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
    }
}
