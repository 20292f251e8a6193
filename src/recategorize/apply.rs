//! A previewed run brought into force, put back, or given up.

use chrono::{DateTime, Utc};

use super::{Error, Guards, Progress, find, found, taxonomy};
use crate::{
    domain::{ChangeState, RecategorizationPhase},
    store::{PhaseMove, Recategorization, Store},
};

/// Rows of one database transaction: what waits for it at most.
const CHUNK: u32 = 5_000;

/// Who asks for a run to be applied, and what may stand against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// How much may change.
    pub guards: Guards,
    /// Why the guards shall not count, where they shall not.
    pub overrides: Option<String>,
    /// Who asks.
    pub by: String,
}

/// Lets a previewed run be applied, if the guards do. [`apply`] then does it. A run that is being applied, or is
/// applied, needs no second word.
///
/// # Errors
/// When the run is elsewhere, answers in a taxonomy that was left, the guards refuse, or the database fails; then nothing changed.
pub async fn allow(store: &Store, id: i64, ask: &Ask, now: DateTime<Utc>) -> Result<(), Error> {
    let run = find(store, id).await?;
    if matches!(run.phase, RecategorizationPhase::Applying | RecategorizationPhase::Applied) {
        return Ok(());
    }
    let diff = found(&run)?.filter(|_| run.phase == RecategorizationPhase::Previewed);
    let diff = diff.ok_or(Error::Phase { id, phase: run.phase, done: "applied" })?;
    if let Some((left, now)) = store.taxonomy_left_by(id).await? {
        return Err(Error::LeftTaxonomy { id, left, now });
    }
    let refusals = ask.guards.look_at(&diff);
    if !refusals.is_empty() && ask.overrides.is_none() {
        return Err(Error::Refused { refusals });
    }
    // Wider limits than there are without a word override them too.
    let overridden = !refusals.is_empty() || !Guards::default().look_at(&diff).is_empty();
    let override_reason = overridden.then(|| {
        let Guards { max_changed, max_category_loss } = ask.guards;
        let (changed, lost) = (100.0 * max_changed, 100.0 * max_category_loss);
        let limits = || format!("with limits of {changed:.0} % changed and {lost:.0} % of a category lost");
        ask.overrides.clone().unwrap_or_else(limits)
    });
    let step = PhaseMove {
        from: &[RecategorizationPhase::Previewed],
        to: RecategorizationPhase::Applying,
        by: &ask.by,
        override_reason: override_reason.as_deref(),
        now,
    };
    if store.move_recategorization(id, step).await? {
        return Ok(());
    }
    // Somebody else may have asked for the same at the same moment.
    settled(store, id, &[RecategorizationPhase::Applying, RecategorizationPhase::Applied], "applied").await
}

/// Brings a run that may be applied into force, chunk by chunk; goes on where an earlier call stopped, and does nothing
/// where all is done.
///
/// # Errors
/// When the run may not be applied, is undone meanwhile, or the database fails; chunks that were done stay.
pub async fn apply(store: &Store, id: i64, now: DateTime<Utc>, told: Progress<'_>) -> Result<(), Error> {
    let run = find(store, id).await?;
    if run.phase == RecategorizationPhase::Applied {
        return Ok(());
    }
    let (mut done, all) = counted(store, id, ChangeState::Proposed).await?;
    loop {
        told(done, all);
        match store.apply_recategorization(id, CHUNK, now).await? {
            Some(0) => return Ok(()),
            Some(rows) => done += u64::from(rows),
            None => return settled(store, id, &[RecategorizationPhase::Applied], "applied").await,
        }
    }
}

/// Puts back what a run changed, chunk by chunk, but for rows that have changed since; goes on where an earlier call
/// stopped.
///
/// # Errors
/// When nothing of the run is in force, it answers in a taxonomy that was left, or the database fails; chunks that were done stay.
pub async fn undo(store: &Store, id: i64, by: &str, now: DateTime<Utc>, told: Progress<'_>) -> Result<(), Error> {
    allow_undo(store, id, by, now).await?;
    put_back(store, id, told).await
}

/// Lets a run be undone. [`put_back`] then does it.
///
/// # Errors
/// When nothing of the run is in force, it answers in a taxonomy that was left, or the database fails.
pub async fn allow_undo(store: &Store, id: i64, by: &str, now: DateTime<Utc>) -> Result<(), Error> {
    taxonomy::may_be_undone(store, id).await?;
    let from = &[RecategorizationPhase::Applying, RecategorizationPhase::Applied];
    let step = PhaseMove { from, to: RecategorizationPhase::Undoing, by, override_reason: None, now };
    if store.move_recategorization(id, step).await? {
        return Ok(());
    }
    settled(store, id, &[RecategorizationPhase::Undoing, RecategorizationPhase::Undone], "undone").await
}

/// Puts back what a run that may be undone changed.
///
/// # Errors
/// When the run may not be undone, or the database fails; chunks that were done stay.
pub async fn put_back(store: &Store, id: i64, told: Progress<'_>) -> Result<(), Error> {
    let (mut done, all) = counted(store, id, ChangeState::Applied).await?;
    loop {
        told(done, all);
        match store.undo_recategorization(id, CHUNK).await? {
            Some(0) => return Ok(()),
            Some(rows) => done += u64::from(rows),
            None => return settled(store, id, &[RecategorizationPhase::Undone], "undone").await,
        }
    }
}

/// Gives up a run of which nothing was applied, and takes its job out of the queue. A worker that is at it stops at the next
/// page.
///
/// # Errors
/// When something was, or the database fails.
pub async fn cancel(store: &Store, id: i64, by: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let from = &[RecategorizationPhase::Predicting, RecategorizationPhase::Previewed];
    let step = PhaseMove { from, to: RecategorizationPhase::Cancelled, by, override_reason: None, now };
    if !store.move_recategorization(id, step).await? {
        settled(store, id, &[RecategorizationPhase::Cancelled], "cancelled").await?;
    }
    // Without a free worker it would wait for ever, and one that failed too often is never taken up again.
    Ok(store.clear_queue(&Recategorization::queue(id)).await?)
}

/// How many changes are not in a state any more, and how many there are.
async fn counted(store: &Store, id: i64, open: ChangeState) -> Result<(u64, u64), Error> {
    let tallies = store.change_tallies(id).await?;
    let of = |keep: &dyn Fn(ChangeState) -> bool| {
        tallies.iter().filter(|tally| keep(tally.state)).map(|tally| tally.rows).sum::<u64>()
    };
    Ok((of(&|state| state != open), of(&|_| true)))
}

/// Another process has led the run where this one would, or elsewhere.
async fn settled(store: &Store, id: i64, there: &[RecategorizationPhase], done: &'static str) -> Result<(), Error> {
    let phase = find(store, id).await?.phase;
    if there.contains(&phase) { Ok(()) } else { Err(Error::Phase { id, phase, done }) }
}
