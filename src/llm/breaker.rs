//! A circuit breaker: after failures in a row a server is left alone for a while, then tried once.

use std::{
    sync::{Mutex, PoisonError},
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
    until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(rest: Duration) -> Self {
        Self { rest, state: Mutex::default() }
    }

    /// Lets a call pass, or says for how long none is made. Of many calls after the rest, one goes first.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until {
            Some(until) if now < until => Err(Error::Resting { failures: state.failures, wait: until - now }),
            Some(_) => {
                state.until = Some(now + self.rest);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.failures >= FAILURES {
            state.until = Some(now + self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_through_after_the_rest() {
        let breaker = Breaker::new(Duration::from_secs(10));
        let start = Instant::now();
        for _ in 0..FAILURES {
            breaker.admit(start).unwrap();
            breaker.failed(start);
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
            (1..FAILURES).for_each(|_| breaker.failed(now));
            breaker.succeeded();
        }
        breaker.admit(now).unwrap();
    }
}
