//! What changes while people look: the queue's counts and the progress of jobs, as server-sent events.
//!
//! However many listen, the database is asked once every two seconds, and not at all while nobody does. Whoever gets no
//! stream asks again and again instead.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt as _, future::BoxFuture};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    error::{Error, Problem},
    pages::{AtRest, Job, listed_jobs},
    reviews::trail::LaneOut,
    state::AppState,
};
use crate::clock;

/// How often the database is asked while somebody listens.
const EVERY: Duration = Duration::from_secs(2);
/// Streams that may be open at a time.
const MOST_STREAMS: usize = 200;

/// Everything that can be listened to. Clones share it.
#[derive(Clone)]
pub(super) struct Live {
    queue: Feed,
    jobs: Feed,
    at_rest: AtRest,
    streams: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Default for Live {
    fn default() -> Self {
        let streams = Arc::new(Semaphore::new(MOST_STREAMS));
        Self {
            queue: Feed::default(),
            jobs: Feed::default(),
            at_rest: AtRest::default(),
            streams,
            stopping: CancellationToken::new(),
        }
    }
}

/// One thing that is looked at for all who listen.
#[derive(Clone, Default)]
struct Feed {
    latest: watch::Sender<Option<Arc<str>>>,
    /// Whether somebody looks. Held while that changes.
    looks: Arc<Mutex<bool>>,
}

type Look = fn(AppState) -> BoxFuture<'static, Result<String, Error>>;

impl Live {
    /// With another number of streams that may be open at a time.
    pub(super) fn with_streams(self, streams: usize) -> Self {
        Self { streams: Arc::new(Semaphore::new(streams)), ..self }
    }

    /// Ends every stream, so that the server can.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
    }

    fn listen(
        &self,
        feed: &Feed,
        state: &AppState,
        look: Look,
    ) -> Result<impl Stream<Item = Result<Event, Infallible>> + use<>, Error> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Error::TooManyStreams)?;
        let heard = feed.subscribe(state.clone(), look);
        let stream = futures::stream::unfold((heard, permit), |(mut heard, permit)| async move {
            let told = next(&mut heard).await?;
            Some((Ok(Event::default().data(told)), (heard, permit)))
        });
        Ok(stream.take_until(self.stopping.clone().cancelled_owned()))
    }
}

/// What is new; none once nobody looks any more.
async fn next(heard: &mut watch::Receiver<Option<Arc<str>>>) -> Option<Arc<str>> {
    loop {
        heard.changed().await.ok()?;
        if let Some(told) = heard.borrow_and_update().clone() {
            return Some(told);
        }
    }
}

impl Feed {
    /// Hears what is known at once, and what comes. Begins to look where nobody does.
    fn subscribe(&self, state: AppState, look: Look) -> watch::Receiver<Option<Arc<str>>> {
        let mut heard = self.latest.subscribe();
        heard.mark_changed();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if !*looks {
            *looks = true;
            tokio::spawn(self.clone().look_on(state, look));
        }
        heard
    }

    async fn look_on(self, state: AppState, look: Look) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.is_left() {
                return;
            }
            match look(state.clone()).await {
                Ok(told) => {
                    self.latest.send_if_modified(|latest| {
                        let new = latest.as_deref() != Some(told.as_str());
                        if new {
                            *latest = Some(told.into());
                        }
                        new
                    });
                }
                Err(error) => tracing::warn!(error = %error, "what is listened to could not be looked at"),
            }
        }
    }

    /// Whether nobody listens any more; then the next one who does begins to look.
    fn is_left(&self) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.latest.receiver_count() == 0;
        if left {
            *looks = false;
            self.latest.send_replace(None);
        }
        left
    }
}

/// What waits, queue by queue.
#[derive(Serialize)]
struct Lanes {
    lanes: Vec<LaneOut>,
}

fn look_at_queue(state: AppState) -> BoxFuture<'static, Result<String, Error>> {
    Box::pin(async move {
        let lanes = state.desk.lanes(clock::now()).await?.into_iter().map(LaneOut::from).collect();
        Ok(serde_json::to_string(&Lanes { lanes })?)
    })
}

/// Jobs with how far they are.
#[derive(Serialize)]
struct Jobs {
    jobs: Vec<Job>,
}

fn look_at_jobs(state: AppState) -> BoxFuture<'static, Result<String, Error>> {
    Box::pin(async move {
        let jobs = listed_jobs(&state, &state.live.at_rest).await?;
        Ok(serde_json::to_string(&Jobs { jobs })?)
    })
}

/// What waits, as it changes: a stream of server-sent events, each with `{"lanes": […]}` as its data, as in
/// `/v1/reviews/numbers`. The first comes at once. At most 200 streams are open at a time.
#[utoipa::path(
    get,
    path = "/v1/reviews/live",
    tag = "reviews",
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many streams are open: ask `/v1/reviews/numbers` instead", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn reviews(
    State(state): State<AppState>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let stream = state.live.listen(&state.live.queue, &state, look_at_queue)?;
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// The progress of jobs, as it changes, for the page that lists them.
pub(super) async fn jobs(
    State(state): State<AppState>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let stream = state.live.listen(&state.live.jobs, &state, look_at_jobs)?;
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
