//! Cron lines: what begins by the clock, in UTC. Every worker may have the same lines; each is taken up once a minute it is
//! due, by one of them.

use std::{collections::BTreeSet, fs, path::Path};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use graphile_worker::{Crontab, CrontabValue, TaskHandler as _, parse_crontab};
use serde::Serialize;

use super::{CronProblem, Error, recategorization::Recategorize};
use crate::domain::Urgency;

/// Days in which a line's next times are looked for.
const HORIZON: i64 = 366;

/// Lines that were understood.
#[derive(Debug, Clone, Default)]
pub struct Cron(Vec<Line>);

#[derive(Debug, Clone)]
struct Line {
    text: String,
    crontab: Crontab,
    asked: Recategorize,
}

/// A line, and when it is due.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CronEntry {
    /// What it is called.
    pub id: String,
    /// As it was written.
    pub line: String,
    /// Whether what it begins is applied where the guards allow that.
    pub applies: bool,
    /// Why it begins what it begins.
    pub reason: String,
    /// When it is due next.
    pub next: Vec<DateTime<Utc>>,
}

impl Cron {
    /// The lines of a file.
    ///
    /// # Errors
    /// When it can't be read, or a line can't be understood.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::CronFile { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// The lines of a text; what is empty or begins with `#` is passed over.
    ///
    /// # Errors
    /// When a line can't be understood.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (mut lines, mut ids) = (Vec::new(), BTreeSet::new());
        // Some editors begin a file with a mark of its byte order.
        for (number, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let line = understood(text).map_err(|problem| Error::CronLine { number, problem })?;
            let id = line.crontab.identifier().to_owned();
            if !ids.insert(id.clone()) {
                return Err(Error::CronLine { number, problem: CronProblem::SameId { id } });
            }
            lines.push(line);
        }
        Ok(Self(lines))
    }

    /// The lines as the queue takes them.
    pub(super) fn crontabs(&self) -> Vec<Crontab> {
        self.0.iter().map(|line| line.crontab.clone()).collect()
    }

    /// The lines, each with its next times, at most `times`, within a year.
    #[must_use]
    pub fn entries(&self, now: DateTime<Utc>, times: usize) -> Vec<CronEntry> {
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let minutes = (1..=HORIZON * 24 * 60).map(|minutes| minute + TimeDelta::minutes(minutes));
        let entry = |line: &Line| CronEntry {
            id: line.crontab.identifier().to_owned(),
            line: line.text.clone(),
            applies: line.asked.apply,
            reason: line.asked.reason.clone(),
            next: minutes.clone().filter(|at| line.crontab.should_run_at(&at.naive_utc())).take(times).collect(),
        };
        self.0.iter().map(entry).collect()
    }
}

/// How often a line's run is begun before the line is taken to be wrong.
const TRIES: u16 = 3;

fn understood(text: &str) -> Result<Line, CronProblem> {
    let crontabs = parse_crontab(text).map_err(|_| CronProblem::Form)?;
    let [mut crontab] = <[Crontab; 1]>::try_from(crontabs).map_err(|_| CronProblem::Form)?;
    if crontab.task_identifier != Recategorize::IDENTIFIER {
        return Err(CronProblem::Task { task: crontab.task_identifier });
    }
    let payload = crontab.payload.clone().unwrap_or_else(|| serde_json::json!({}));
    let asked: Recategorize = serde_json::from_value(payload).map_err(CronProblem::Payload)?;
    if asked.reason.trim().is_empty() {
        return Err(CronProblem::Reason);
    }
    // What day it is makes no difference to whether the scope says one thing.
    asked.scope_at(DateTime::UNIX_EPOCH).checked()?;
    crontab.timer.dows = weekdays(&crontab.timer.dows);
    crontab.options.priority.get_or_insert(Urgency::Nightly.priority());
    // It begins a run, which takes a moment: what fails so often is the line's own fault.
    crontab.options.max.get_or_insert(TRIES);
    Ok(Line { text: text.to_owned(), crontab, asked })
}

/// Weekdays as the queue's clock counts them. Its parser takes 0 for Sunday, as cron does; its clock takes 7.
fn weekdays(values: &[CrontabValue]) -> Vec<CrontabValue> {
    let meant = |day: u32| {
        values.iter().any(|value| match value {
            CrontabValue::Any => true,
            CrontabValue::Number(number) => day == *number,
            CrontabValue::Range(low, high) => (*low..=*high).contains(&day),
            CrontabValue::Step(step) => day.checked_rem(*step) == Some(0),
        })
    };
    (0..7).filter(|&day| meant(day)).map(|day| CrontabValue::Number(if day == 0 { 7 } else { day })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: &str = "\
        # Doubtful answers of the last month, every night; on Sundays everything, and only to look at.\n\
        30 2 * * * recategorize ?id=doubtful&fill=6h {scope:{below_confidence:0.8},last_days:30,reason:\"nightly\",apply:true}\n\
        \n\
        0 4 * * 0 recategorize ?id=all {\"scope\":{\"everything\":true},\"reason\":\"weekly\"}\n";

    #[test]
    fn lines_say_when_they_are_due() {
        let now = "2026-03-14T02:30:20Z".parse().unwrap();
        let entries = Cron::parse(NIGHT).unwrap().entries(now, 2);
        let [doubtful, all] = &entries[..] else { panic!("{entries:?}") };
        let next = |entry: &CronEntry| entry.next.iter().map(DateTime::to_rfc3339).collect::<Vec<_>>();
        assert_eq!((doubtful.id.as_str(), doubtful.applies), ("doubtful", true));
        assert_eq!(next(doubtful), ["2026-03-15T02:30:00+00:00", "2026-03-16T02:30:00+00:00"]);
        assert_eq!((all.id.as_str(), all.applies), ("all", false));
        assert_eq!(next(all), ["2026-03-15T04:00:00+00:00", "2026-03-22T04:00:00+00:00"]);
    }

    #[test]
    fn a_file_that_windows_wrote_is_the_same_lines() {
        let ids = |text: &str| {
            let entries = Cron::parse(text).unwrap().entries("2026-03-14T02:30:20Z".parse().unwrap(), 1);
            entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        let first = NIGHT.split_once('\n').unwrap().1;
        assert_eq!(ids(&format!("\u{feff}{first}").replace('\n', "\r\n")), ids(NIGHT));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (text, says) in [
            ("\n61 2 * * recategorize {reason:\"x\"}", "cron line 2: must be `minute"),
            ("0 2 * * * sleep {}", "there is no task `sleep`"),
            ("0 2 * * * recategorize {scope:{everything:true}}", "missing field `reason`"),
            ("0 2 * * * recategorize {scope:{evrything:true},reason:\"x\"}", "unknown field `evrything`"),
            ("0 2 * * * recategorize {reason:\"x\"}", "name what shall be looked at"),
            (
                "0 2 * * * recategorize {last_days:3,reason:\"x\"}\n0 3 * * * recategorize {last_days:3,reason:\"x\"}",
                "cron line 2: another line is called `recategorize` too",
            ),
        ] {
            let error = Cron::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
