//! One endpoint told of the next events, and what becomes of it where it does not take them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::{StatusCode, redirect};

use super::{Batch, Error, Message};
use crate::{
    causes::with_causes,
    outbound, signature,
    store::{Event, FailedDelivery, Store, Webhook},
};

/// Events of one message.
const BATCH: u32 = 100;
/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What a wait grows by with every failure in a row.
const GROWTH: i32 = 3;

/// How long endpoints that fail are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The wait after the first failure; it triples with every further one. Half of each is drawn, so that endpoints that
    /// failed together come back apart.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Failures in a row after which an endpoint is paused.
    pub failures: u32,
}

impl Default for Patience {
    /// From 5 seconds to 6 hours; twelve failures take a good day.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), longest: Duration::from_secs(6 * 3_600), failures: 12 }
    }
}

impl Patience {
    /// How long to wait after so many failures in a row of an endpoint.
    fn wait(&self, webhook: i64, failures: u32) -> TimeDelta {
        let grown =
            self.first.as_secs_f64() * f64::from(GROWTH).powi(failures.saturating_sub(1).try_into().unwrap_or(64));
        let most = grown.min(self.longest.as_secs_f64());
        let seed = webhook.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(failures.into());
        let share: f64 = ChaCha8Rng::seed_from_u64(seed).random_range(0.5..=1.0);
        TimeDelta::from_std(Duration::from_secs_f64(most * share)).unwrap_or(TimeDelta::MAX)
    }
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It took some, and there may be more.
    Some,
    /// There is nothing to tell it, or nobody to tell.
    Nothing,
    /// It did not take them, and is tried again then.
    Later(DateTime<Utc>),
}

/// Tells endpoints.
#[derive(Debug, Clone)]
pub struct Deliverer {
    store: Store,
    client: reqwest::Client,
    patience: Patience,
}

impl Deliverer {
    /// Follows no redirect: an endpoint is where an admin said it is.
    ///
    /// # Errors
    /// When no HTTP client can be had.
    pub fn new(store: Store, patience: Patience) -> Result<Self, Error> {
        let client = outbound::client().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        Ok(Self { store, client: client.map_err(Error::Client)?, patience })
    }

    /// Tells an endpoint of its next events.
    ///
    /// # Errors
    /// When the database fails. What the endpoint does is no error: that is kept with it.
    pub async fn next(&self, id: i64, now: DateTime<Utc>) -> Result<Delivered, Error> {
        let webhook = self.store.webhooks(Some(id)).await?.pop();
        let Some(webhook) = webhook.filter(|webhook| webhook.paused_at.is_none()) else {
            return Ok(Delivered::Nothing);
        };
        let mut events = self.store.events(webhook.delivered, BATCH).await?;
        // What was begun is the same message until it is taken; where its events were erased, there is nothing to tell again.
        let begun = events.partition_point(|event| webhook.telling_upto.is_some_and(|upto| event.id <= upto));
        if begun > 0 {
            events.truncate(begun);
        }
        let Some(last) = events.last().map(|event| event.id) else { return Ok(Delivered::Nothing) };
        if webhook.telling_upto != Some(last) {
            self.store.webhook_telling(id, last).await?;
        }
        match self.send(&webhook, &events, now).await? {
            None => {
                self.store.webhook_took(id, webhook.delivered, last, now).await?;
                Ok(Delivered::Some)
            }
            Some(why) => {
                let failures = webhook.failures + 1;
                let gone = why.status == Some(StatusCode::GONE);
                let next_try_at = now + self.patience.wait(id, failures);
                let paused = gone || failures >= self.patience.failures;
                let failed = FailedDelivery {
                    why: why.said,
                    next_try_at: (!paused).then_some(next_try_at),
                    paused_at: paused.then_some(now),
                };
                self.store.webhook_failed(id, &failed).await?;
                if paused {
                    tracing::warn!(webhook.id = id, webhook.failures = failures, "An endpoint fails and is paused");
                    return Ok(Delivered::Nothing);
                }
                Ok(Delivered::Later(next_try_at))
            }
        }
    }

    /// Sends one message; tells why it was not taken, if it was not.
    async fn send(&self, webhook: &Webhook, events: &[Event], now: DateTime<Utc>) -> Result<Option<NotTaken>, Error> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
        // The same events are the same message, however often they are sent.
        let id = format!("msg_{}_{}_{}", webhook.id, first.id, last.id);
        let message = Message { kind: "events", timestamp: last.at, data: Batch { events } };
        let body = serde_json::to_vec(&message)?;
        let Some(signed) = signature::sign(webhook.secret.expose(), &id, now, &body) else {
            return Ok(Some(NotTaken { status: None, said: "the stored secret is no key".to_owned() }));
        };
        let sent = self
            .client
            .post(&webhook.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.timestamp())
            .header("webhook-signature", signed)
            .body(body)
            .send()
            .await;
        Ok(match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => {
                Some(NotTaken { status: Some(answer.status()), said: format!("it answered {}", answer.status()) })
            }
            Err(error) => Some(NotTaken { status: None, said: with_causes(&error.without_url()) }),
        })
    }
}

/// Why an endpoint did not take a message.
struct NotTaken {
    status: Option<StatusCode>,
    said: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_differ_between_endpoints() {
        let patience = Patience::default();
        let seconds = |webhook, failures| patience.wait(webhook, failures).as_seconds_f64();
        for failures in 1..40 {
            let most = (5.0 * 3_f64.powi(failures - 1)).min(21_600.0);
            for webhook in 1..20 {
                let wait = seconds(webhook, failures as u32);
                assert!((most / 2.0..=most).contains(&wait), "{webhook} {failures}: {wait}");
            }
        }
        assert!(seconds(1, 3) != seconds(2, 3));
    }
}
