//! How often a key may ask: so many requests a minute, spread or at once (GCRA). Each server counts for itself; what a key may send a
//! day is counted in Postgres, for all of them.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// Requests a minute where neither the key nor the deployment says otherwise.
pub const REQUESTS_PER_MINUTE: u32 = 12_000;

/// How much of its requests a key has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests a minute.
    pub limit: u32,
    /// Requests that may come at once now.
    pub left: u32,
    /// Until all of them may.
    pub reset: Duration,
}

/// A request too many: how long until the next may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// Requests a minute.
    pub limit: u32,
    /// Until then.
    pub wait: Duration,
}

/// By a key's name: so many requests a minute, and how many are left.
type Counted = HashMap<String, (NonZeroU32, Arc<Limiter>)>;

/// Counts the requests of keys. One key is one name, so a rotated key shares what is left with the one before it.
#[derive(Debug, Clone)]
pub struct Limits {
    default: Option<NonZeroU32>,
    keys: Arc<Mutex<Counted>>,
    clock: DefaultClock,
}

impl Limits {
    /// With so many requests a minute for a key that has no limit of its own; 0 for as many as come.
    #[must_use]
    pub fn new(default: u32) -> Self {
        Self { default: NonZeroU32::new(default), keys: Arc::default(), clock: DefaultClock::default() }
    }

    /// Counts a request of a key; none where it has no limit.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn count(&self, name: &str, own: Option<NonZeroU32>) -> Result<Option<Standing>, TooMany> {
        let Some(limit) = own.or(self.default) else { return Ok(None) };
        let limiter = self.limiter(name, limit);
        match limiter.check() {
            Ok(snapshot) => {
                let left = snapshot.remaining_burst_capacity();
                let used = limit.get().saturating_sub(left);
                let reset = Duration::from_secs_f64(f64::from(used) * 60.0 / f64::from(limit.get()));
                Ok(Some(Standing { limit: limit.get(), left, reset }))
            }
            Err(not_until) => Err(TooMany { limit: limit.get(), wait: not_until.wait_time_from(self.clock.now()) }),
        }
    }

    fn limiter(&self, name: &str, limit: NonZeroU32) -> Arc<Limiter> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(name) {
            Some((of, limiter)) if *of == limit => Arc::clone(limiter),
            _ => {
                let quota = Quota::per_minute(limit);
                let limiter = Arc::new(RateLimiter::direct(quota).with_middleware::<StateInformationMiddleware>());
                keys.insert(name.to_owned(), (limit, Arc::clone(&limiter)));
                limiter
            }
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(REQUESTS_PER_MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_own_limit_and_no_other_key_s() {
        let limits = Limits::new(3);
        let left = |name, own| limits.count(name, NonZeroU32::new(own)).map(|standing| standing.unwrap().left);
        assert_eq!([left("a", 0), left("a", 0), left("a", 0)], [Ok(2), Ok(1), Ok(0)]);
        let refused = left("a", 0).unwrap_err();
        assert!(
            refused.limit == 3 && refused.wait > Duration::from_secs(15) && refused.wait <= Duration::from_secs(20)
        );
        assert_eq!(left("b", 0), Ok(2));
        assert_eq!(left("c", 10), Ok(9));
        assert_eq!(Limits::new(0).count("a", None), Ok(None));
    }
}
