//! The watch on generated rows whose truth is known.

use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::evaluate::drift::psi;

/// Rows as `(confidence, right, known)`: known keys mostly right, unknown ones half, all well calibrated
/// but for `harder`, the share of right answers that turn wrong.
fn rows(n: usize, unknown: f64, harder: f64, rng: &mut ChaCha8Rng) -> Vec<(f32, bool, bool)> {
    let row = |_| {
        let known = !rng.random_bool(unknown);
        let confidence = if known { rng.random_range(0.94..1.0) } else { rng.random_range(0.3..0.9) };
        let right = rng.random_bool(confidence) && !rng.random_bool(harder);
        (confidence as f32, right, known)
    };
    (0..n).map(row).collect()
}

fn period(rows: &[(f32, bool, bool)]) -> Period {
    let mut period = Period::default();
    rows.iter().for_each(|&(confidence, _, known)| period.add("a", confidence, known));
    period
}

fn audit(rows: &[(f32, bool, bool)], n: usize, rng: &mut ChaCha8Rng) -> Audit {
    let mut audit = Audit::default();
    index::sample(rng, rows.len(), n).into_iter().for_each(|at| audit.add(rows[at].1, rows[at].0));
    audit
}

fn watch(rng: &mut ChaCha8Rng) -> Watch {
    let mut reference = Reference::default();
    for (confidence, right, known) in rows(4_000, 0.06, 0.0, rng) {
        reference.add("a", confidence, known, right);
    }
    Watch::new(0.92, reference)
}

#[test]
fn psi_is_the_textbooks_less_what_chance_gives() {
    // (0.6 − 0.5) ln(0.6 / 0.5) + (0.4 − 0.5) ln(0.4 / 0.5) = 0.040547.
    let moved = psi(&[500_000, 500_000], &[600_000, 400_000]);
    assert!((moved - 0.040_547).abs() < 1e-4, "{moved}");
    assert_eq!((psi(&[10, 20], &[10, 20]), psi(&[5], &[9]), psi(&[0, 0], &[3, 4])), (0.0, 0.0, 0.0));
    assert!(psi(&[500, 500, 0], &[400, 400, 200]) > 1.0, "a new bin counts");
}

#[test]
fn two_samples_of_one_distribution_have_not_moved() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut sample = |n: usize| {
        let mut bins = [0; 20];
        (0..n).for_each(|_| bins[rng.random_range(0..20)] += 1);
        bins
    };
    let moved = (0..100).filter(|_| psi(&sample(4_000), &sample(400)) >= MOVED / 2.0).count();
    assert!(moved <= 3, "{moved} of 100");
}

#[test]
fn the_audit_corrects_confidences_and_its_interval_holds_the_truth() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut held, mut sum) = (0, 0.0);
    for _ in 0..400 {
        let rows = rows(500, 0.2, 0.1, &mut rng);
        let truth = rows.iter().filter(|row| row.1).count() as f64 / 500.0;
        let (period, audit) = (period(&rows), audit(&rows, 150, &mut rng));
        let estimate = audit.estimate(&period).unwrap();
        held += usize::from(estimate.low <= truth && truth <= estimate.high);
        sum += estimate.share - truth;
        assert!(period.mean_confidence() - truth > 0.03, "the confidences themselves are far off");
    }
    assert!((0.93..=0.99).contains(&(f64::from(held as u32) / 400.0)), "{held} of 400");
    assert!((sum / 400.0).abs() < 0.004, "{sum}");
}

#[test]
fn a_few_good_audits_prove_little() {
    let mut audit = Audit::default();
    (0..10).for_each(|_| audit.add(true, 0.99));
    let period = period(&vec![(0.99, true, true); 1_000]);
    assert!(audit.estimate(&period).unwrap().low < 0.95);
    assert_eq!(Audit::default().estimate(&period), None);
}

#[test]
fn what_keeps_its_target_is_called_fallen_as_rarely_as_promised_and_a_fall_is_found() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let start = watch(&mut rng);
    // As in the reference: about 95 % right.
    let (mut alarms, mut ok) = (0, 0);
    for _ in 0..200 {
        let rows = rows(500, 0.06, 0.0, &mut rng);
        let verdict = start.clone().see(&period(&rows), &audit(&rows, 150, &mut rng));
        alarms += usize::from(verdict.state == State::Fallen);
        ok += usize::from(verdict.state == State::Ok);
    }
    assert!(alarms <= 2 && ok >= 180, "{alarms} alarms, {ok} ok of 200");
    // Both groups harder, though neither keys nor confidences changed: only the audit can tell.
    let mut found = 0;
    for _ in 0..100 {
        let mut watch = start.clone();
        found += usize::from((0..3).any(|_| {
            let rows = rows(500, 0.06, 0.09, &mut rng);
            let verdict = watch.see(&period(&rows), &audit(&rows, 150, &mut rng));
            verdict.state == State::Fallen
        }));
    }
    assert!(found >= 90, "{found} of 100 falls to about 87 % found within three periods");
}

#[test]
fn unknown_keys_are_noticed_without_a_label() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut watch = watch(&mut rng);
    let verdict = watch.see(&period(&rows(500, 0.25, 0.0, &mut rng)), &Audit::default());
    assert_eq!((verdict.state, verdict.estimate), (State::Drifting, None));
    assert!(verdict.causes.contains(&Cause::Confidence) && verdict.causes.contains(&Cause::Expected));
    assert!(verdict.drift.unknown_gain > 0.1 && verdict.expected < 0.92, "{verdict:?}");
}

#[test]
fn evidence_gathers_over_periods_and_a_recovery_clears_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut watch = watch(&mut rng);
    let now = period(&rows(5_000, 0.06, 0.0, &mut rng));
    let poor = Audit { rows: 100, right: 88, surprise: -7.0, squares: 9.0 };
    let states: Vec<bool> = (0..4).map(|_| watch.see(&now, &poor).causes.contains(&Cause::Sequence)).collect();
    assert!(!states[0] && states[3], "{states:?}");
    let good = Audit { rows: 100, right: 98, surprise: 3.0, squares: 2.0 };
    assert!(!watch.see(&now, &good).causes.contains(&Cause::Sequence));
}

proptest! {
    #[test]
    fn shares_stay_in_the_unit_and_psi_is_never_negative(
        then in prop::collection::vec(0..400_u64, 2..12), shift in prop::collection::vec(0..400_u64, 12),
        outcomes in prop::collection::vec((any::<bool>(), 0.0_f32..=1.0), 0..60),
    ) {
        prop_assert!(psi(&then, &shift[..then.len()]) >= 0.0);
        let (mut period, mut audit) = (Period::default(), Audit::default());
        for (right, confidence) in outcomes {
            period.add("a", confidence, right);
            audit.add(right, confidence);
        }
        if let Some(of) = audit.estimate(&period) {
            prop_assert!(0.0 <= of.low && of.low <= of.share && of.share <= of.high && of.high <= 1.0);
            prop_assert!(of.share <= of.at_most && of.at_most <= of.high);
        }
    }
}
