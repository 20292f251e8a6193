//! Events told to others: what changed of transactions, as signed messages to endpoints that asked for them.
//!
//! The feed itself is the store's, written in the database transaction that makes a change. An endpoint is told of it in
//! its order, each event at least once: a place is kept only after the endpoint took what came before it. It is not when
//! that is tried: jobs see to that.

mod deliver;

pub use deliver::{Delivered, Deliverer, Patience};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    config::Secret,
    signature,
    store::{self, Event, NewWebhook, Store, Webhook},
};

/// Why an endpoint could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// Where nothing can be sent to.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// A place in the feed that was not reached yet.
    #[error("there is no event {after} yet: the newest is {newest}")]
    Ahead {
        /// What was asked for.
        after: i64,
        /// The last place in the feed; 0 where there is none.
        newest: i64,
    },
    /// An HTTP client could not be made.
    #[error("no HTTP client can be had")]
    Client(#[source] reqwest::Error),
    /// A message that can't be written.
    #[error("a message could not be written")]
    Message(#[from] serde_json::Error),
}

/// Where nothing can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an http or https address without a user name or password")]
pub struct InvalidUrl;

/// Asks for an endpoint to be told of events after a place in the feed, of now where none is given. The
/// secret that signs what it is sent is shown once.
///
/// # Errors
/// When nothing can be sent there, the feed has not come to that place, or the database fails.
pub async fn register(
    store: &Store,
    url: &str,
    after: Option<i64>,
    by: &str,
    random: [u8; signature::SECRET],
    now: DateTime<Utc>,
) -> Result<Webhook, Error> {
    let parsed = reqwest::Url::parse(url).map_err(|_| InvalidUrl)?;
    let plain = parsed.username().is_empty() && parsed.password().is_none() && parsed.has_host();
    if !plain || !matches!(parsed.scheme(), "http" | "https") {
        return Err(InvalidUrl.into());
    }
    let after = match after {
        Some(after) => reached(store, after).await?,
        None => store.last_event().await?,
    };
    let new = NewWebhook {
        url: parsed.into(),
        secret: Secret::from(signature::secret(random)),
        after,
        created_by: by.to_owned(),
        created_at: now,
    };
    Ok(store.create_webhook(&new).await?)
}

/// Events after a place in the feed, at most `limit`.
///
/// # Errors
/// When the feed has not come to that place, or the database fails.
pub async fn after(store: &Store, after: i64, limit: u32) -> Result<Vec<Event>, Error> {
    let events = store.events(after, limit).await?;
    if events.is_empty() {
        reached(store, after).await?;
    }
    Ok(events)
}

/// A place that the feed has come to: whoever keeps one of another database would miss what comes until then.
async fn reached(store: &Store, after: i64) -> Result<i64, Error> {
    let newest = store.last_event().await?;
    if after > newest { Err(Error::Ahead { after, newest }) } else { Ok(after) }
}

/// What an endpoint is sent.
#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: DateTime<Utc>,
    data: Batch<'a>,
}

#[derive(Debug, Serialize)]
struct Batch<'a> {
    events: &'a [Event],
}
