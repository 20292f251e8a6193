//! The binomial distribution's tail, for as many rows as a tracker holds.
//!
//! Not statrs's: the continued fraction behind its `sf` stops after 140 steps, which is too few from some ten thousand rows
//! on.

use statrs::distribution::{Binomial, ContinuousCDF, Discrete, Normal};

/// Beyond so many rows a normal distribution is as good, and the sum would take long.
const SUMMED: u64 = 50_000_000;

/// The chance of `from` or more hits in `n` tries of which each hits with `chance`, a share strictly between 0 and 1.
#[must_use]
pub(super) fn at_least(from: u64, n: u64, chance: f64) -> f64 {
    let mean = n as f64 * chance;
    if from > n {
        return 0.0;
    }
    if n > SUMMED {
        return Normal::standard().sf((from as f64 - 0.5 - mean) / (mean * (1.0 - chance)).sqrt());
    }
    let Ok(hits) = Binomial::new(chance, n) else { return f64::NAN };
    let odds = chance / (1.0 - chance);
    // From the likeliest outcome that counts, down either side, until nothing is added.
    let peak = from.max((mean as u64).min(n));
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in peak + 1..=n {
        term *= (n - k + 1) as f64 / k as f64 * odds;
        sum += term;
        if term < sum * f64::EPSILON / 16.0 {
            break;
        }
    }
    term = 1.0;
    for k in (from..peak).rev() {
        term *= (k + 1) as f64 / (n - k) as f64 / odds;
        sum += term;
        if term < sum * f64::EPSILON / 16.0 {
            break;
        }
    }
    (hits.ln_pmf(peak).exp() * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_scipy() {
        // scipy.stats.binom.sf(from - 1, n, chance)
        for (from, n, chance, known) in [
            (0, 10, 0.3, 1.0),
            (10, 10, 0.5, 0.000_976_562_5),
            (1_391, 1_500, 0.92, 0.158_759_696_694_405_8),
            (500_500, 1_000_000, 0.5, 0.158_897_345_681_664_86),
            (11, 10, 0.5, 0.0),
        ] {
            let found = at_least(from, n, chance);
            assert!((found - known).abs() < 1e-9, "{from} of {n} at {chance}: {found}, not {known}");
        }
        assert!((at_least(50_030_000, 100_000_000, 0.5) - 9.871_943_5e-10).abs() < 1e-14);
    }
}
