//! A circuit breaker: after failures in a row a server is left alone for a while, then tried once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Error;

/// Failures in a row after which a server is left alone.
const FAILURES: u32 = 5;

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct Breaker {
    rest: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Since when failures are too many: until when it rests, and why it failed last.
    rest: Option<(Instant, Arc<Error>)>,
}

impl Breaker {
    pub(super) fn new(rest: Duration) -> Self {
        Self { rest, state: Mutex::default() }
    }

    /// Lets a call pass, or says for how long none is made. Of many calls after the rest, one goes first.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = state.failures;
        match &mut state.rest {
            Some((until, last)) if now < *until => {
                Err(Error::Resting { failures, wait: *until - now, last: Arc::clone(last) })
            }
            Some((until, _)) => {
                *until = now + self.rest;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn failed(&self, now: Instant, error: &Arc<Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.failures >= FAILURES {
            state.rest = Some((now + self.rest, Arc::clone(error)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Arc<Error> {
        Arc::new(Error::Failed { status: 500 })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_through_after_the_rest() {
        let breaker = Breaker::new(Duration::from_secs(10));
        let start = Instant::now();
        for _ in 0..FAILURES {
            breaker.admit(start).unwrap();
            breaker.failed(start, &failure());
        }
        assert!(matches!(breaker.admit(start), Err(Error::Resting { failures: FAILURES, .. })));
        let later = start + Duration::from_secs(11);
        breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "one tries, the others wait for what comes of it");
        breaker.succeeded();
        breaker.admit(later).unwrap();
    }

    #[test]
    fn a_success_in_between_starts_the_count_again() {
        let breaker = Breaker::new(Duration::from_secs(10));
        let now = Instant::now();
        for _ in 0..3 {
            (1..FAILURES).for_each(|_| breaker.failed(now, &failure()));
            breaker.succeeded();
        }
        breaker.admit(now).unwrap();
    }
}
