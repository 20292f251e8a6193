//! When to read again: the registry, or what was fitted for engines, has changed on some server.

use std::time::Duration;

use crate::store::{AdapterChanges, Store};

/// A notification may get lost with its connection: so often everything is read in any case.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// Changes as Postgres tells them.
pub(super) struct Changes {
    store: Store,
    heard: Option<AdapterChanges>,
}

impl Changes {
    pub(super) fn of(store: Store) -> Self {
        Self { store, heard: None }
    }

    /// Listens from now on. Who reads after this misses nothing.
    pub(super) async fn listen(&mut self) {
        if self.heard.is_none() {
            self.heard = self.store.hear_adapters().await.ok();
        }
    }

    /// Waits for a change, or until it is time to read in any case.
    pub(super) async fn next(&mut self) {
        let heard = match &mut self.heard {
            Some(changes) => tokio::time::timeout(READ_AGAIN, changes.next()).await,
            None => tokio::time::timeout(READ_AGAIN, std::future::pending()).await,
        };
        if matches!(heard, Ok(Err(_))) {
            self.heard = None;
        }
    }
}
