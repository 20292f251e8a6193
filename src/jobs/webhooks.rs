//! Endpoints told of events, as jobs: one job an endpoint at a time, so that each hears everything in order.

use chrono::{DateTime, Utc};
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::{AGAIN, Error, Hands, told};
use crate::{
    causes::with_causes,
    clock,
    domain::Urgency,
    events::Delivered,
    store::{self, NewJob, Store},
};

/// An endpoint to be told of what it has not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// Which endpoint.
    pub webhook: i64,
}

impl Deliver {
    /// Puts it into the queue, for a time or for now. One that waits already stays for when it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask(self, store: &Store, run_at: Option<DateTime<Utc>>) -> Result<i64, store::Error> {
        self.put(store, run_at, true).await
    }

    /// Puts it into the queue for now, whatever one that waits is for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_at_once(self, store: &Store) -> Result<i64, store::Error> {
        self.put(store, None, false).await
    }

    async fn put(self, store: &Store, run_at: Option<DateTime<Utc>>, keeps_time: bool) -> Result<i64, store::Error> {
        let queue = format!("webhook:{}", self.webhook);
        let job = NewJob {
            task: Self::IDENTIFIER,
            payload: serde_json::json!(self),
            key: Some(queue.clone()),
            queue: Some(queue),
            priority: Urgency::Prompt.priority(),
            run_at,
            keeps_time,
        };
        store.add_job(job).await
    }

    async fn take(self, hands: &Hands) -> Result<(), Error> {
        while !hands.stop.is_cancelled() {
            match hands.deliverer.next(self.webhook, clock::now()).await? {
                Delivered::Some => {}
                Delivered::Nothing => return Ok(()),
                Delivered::Later(at) => {
                    // Events of meanwhile have asked for the next try at once.
                    self.put(&hands.store, Some(at), false).await?;
                    return Ok(());
                }
            }
        }
        self.ask(&hands.store, None).await?;
        Ok(())
    }
}

impl TaskHandler for Deliver {
    const IDENTIFIER: &'static str = "deliver_webhook";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let hands = Hands::of(&context)?;
        told(&context, self.take(hands).await)
    }
}

/// Has endpoints told whenever there are events, until the hands' `stop` is cancelled. It looks at once, at every news of
/// events, and every minute at what news may have been lost.
pub(super) async fn announce(hands: Hands) {
    let listening = async {
        loop {
            if let Err(error) = hear(&hands.store).await {
                tracing::warn!(error = %with_causes(&error), "Events could not be listened for");
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = hands.stop.cancelled() => {}
        () = listening => {}
    }
}

async fn hear(store: &Store) -> Result<(), store::Error> {
    let mut news = store.hear_events().await?;
    let mut minute = tokio::time::interval(std::time::Duration::from_secs(60));
    loop {
        for (webhook, next_try_at) in store.webhooks_behind().await? {
            Deliver { webhook }.ask(store, next_try_at).await?;
        }
        tokio::select! {
            heard = news.next() => heard?,
            _ = minute.tick() => {}
        }
    }
}
