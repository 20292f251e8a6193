//! Shares drawn without chance: who is among them can be told again at any time, on any machine.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Whether something is among a share of its kind. Each lot draws anew, and what is in stays in when the
/// share grows.
#[must_use]
pub fn drawn(id: &str, lot: &str, share: f32) -> bool {
    let seed = xxh3_64_with_seed(lot.as_bytes(), 0);
    // 53 bits fit a double exactly.
    let place = xxh3_64_with_seed(id.as_bytes(), seed) >> 11;
    (place as f64) < f64::from(share) * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Vec<String> {
        (0..2_000).map(|n| format!("acc-{n}")).collect()
    }

    #[test]
    fn a_share_is_drawn_and_a_greater_share_holds_it() {
        let accounts = accounts();
        let seen = |share: f32| accounts.iter().filter(|id| drawn(id, "a", share)).collect::<Vec<_>>();
        let (few, many) = (seen(0.1), seen(0.3));
        assert!((150..250).contains(&few.len()) && (520..680).contains(&many.len()), "{} {}", few.len(), many.len());
        assert!(few.iter().all(|account| many.contains(account)));
        assert_eq!((seen(0.0).len(), seen(1.0).len()), (0, accounts.len()));
    }

    #[test]
    fn every_lot_draws_anew() {
        let both = accounts().iter().filter(|id| drawn(id, "a", 0.5) && drawn(id, "b", 0.5)).count();
        assert!((400..600).contains(&both), "{both} of 2,000 are in both, not about a quarter");
    }
}
