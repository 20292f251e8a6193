//! The six questions in their order, each with its answer and the evidence for it. The first answer that stops says
//! which lever is next; only who passes all six is told to fine-tune.
//!
//! Which option to take, and whether it pays, is not asked here.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    evidence::{Basis, Case},
    scenario::Reply,
    setup::{Lever, Setup},
    words::{count, percent},
};

/// Good labels from which on learning from them is worth a try.
pub const LABELS: u64 = 500;
/// Transactions a month from which on a model of one's own is worth its keep.
pub const VOLUME: u64 = 50_000;

/// One of the six.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceQuestionName)]
pub enum Question {
    /// Can prompting solve it?
    Prompting,
    /// Does it need current or private data?
    Data,
    /// Is consistent behavioural change needed?
    Behaviour,
    /// 500+ good labelled examples?
    Labels,
    /// 50,000+ queries a month?
    Volume,
    /// Can you maintain it?
    Upkeep,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceAnswer)]
pub enum Said {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nobody knows yet.
    Unknown,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceQuestion)]
pub struct Answered {
    /// Which of the six.
    pub question: Question,
    /// In words.
    pub asks: &'static str,
    /// What is answered.
    pub answer: Said,
    /// How that is known.
    pub basis: Basis,
    /// What it rests on; where nobody knows, what would answer it.
    pub evidence: String,
    /// Whether the way ends here: this answer names the lever to pull.
    pub stops: bool,
}

/// Something that nobody has said, and how to say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AdviceAsked)]
pub struct Ask {
    /// What is not known.
    pub what: String,
    /// The flag of `txcat advise` that says it, or the command that measures it.
    pub flag: &'static str,
    /// The scenario's member that says it, as a JSON pointer.
    pub member: &'static str,
}

/// How to score something on rows that had no part in choosing it.
pub(super) const SCORED: &str =
    "`txcat eval --data DIR --files test`, or of an adapter `txcat adapters evaluate REFERENCE --data DIR`";

impl Question {
    fn asks(self) -> &'static str {
        match self {
            Self::Prompting => "Can prompting solve it?",
            Self::Data => "Does it need current or private data?",
            Self::Behaviour => "Is consistent behavioural change needed?",
            Self::Labels => "Are there 500 good labelled examples or more?",
            Self::Volume => "Are there 50,000 queries a month or more?",
            Self::Upkeep => "Can you maintain it?",
        }
    }

    /// The answer with which the way ends.
    fn stops_at(self) -> Said {
        match self {
            Self::Prompting | Self::Data => Said::Yes,
            Self::Behaviour | Self::Labels | Self::Volume | Self::Upkeep => Said::No,
        }
    }

    /// How to answer it, where nobody has.
    pub(super) fn ask(self) -> Ask {
        let (flag, member) = match self {
            Self::Prompting => ("`txcat eval --data DIR --stage enriched_prompt`, or --target SHARE", "/target"),
            Self::Data => ("--private-or-current-data yes|no", "/answers/private_or_current_data"),
            Self::Behaviour => ("--consistent-behaviour yes|no", "/answers/consistent_behaviour"),
            Self::Labels => ("`txcat data check` or POST /v1/datasets, or --labels N", "/labels"),
            Self::Volume => ("--transactions-per-month N", "/transactions_per_month"),
            Self::Upkeep => ("--maintainable yes|no", "/answers/maintainable"),
        };
        Ask { what: self.asks().to_owned(), flag, member }
    }
}

/// All six, answered as far as somebody knows.
pub(super) fn answers(case: &Case) -> Vec<Answered> {
    let replies = &case.scenario.answers;
    let found = [
        (Question::Prompting, prompting(case)),
        (Question::Data, replied(replies.private_or_current_data.as_ref())),
        (Question::Behaviour, replied(replies.consistent_behaviour.as_ref())),
        (
            Question::Labels,
            case.labels.as_ref().map(|labels| {
                let words = format!("{}: {}", count(labels.value), labels.says);
                (said(labels.value >= LABELS), labels.basis, words)
            }),
        ),
        (
            Question::Volume,
            case.volume.as_ref().map(|volume| {
                let words = format!("{}: {}", count(volume.value), volume.says);
                (said(volume.value >= VOLUME), volume.basis, words)
            }),
        ),
        (Question::Upkeep, replied(replies.maintainable.as_ref())),
    ];
    let mut open = true;
    found
        .into_iter()
        .map(|(question, found)| {
            let unknown = || (Said::Unknown, Basis::Asked, format!("answer with {}", question.ask().flag));
            let (answer, basis, evidence) = found.unwrap_or_else(unknown);
            let stops = open && answer == question.stops_at();
            open &= !stops && answer != Said::Unknown;
            Answered { question, asks: question.asks(), answer, basis, evidence, stops }
        })
        .collect()
}

fn said(yes: bool) -> Said {
    if yes { Said::Yes } else { Said::No }
}

fn replied(reply: Option<&Reply>) -> Option<(Said, Basis, String)> {
    let Reply { answer, because } = reply?;
    Some((said(*answer), Basis::Stated, because.clone().unwrap_or_else(|| "no reason is given".to_owned())))
}

/// The most accurate prompt, today's among them.
pub(super) fn best_prompt(case: &Case) -> Option<&Setup> {
    let prompts = case.scenario.setups().filter(|setup| setup.lever == Lever::Prompt);
    prompts.max_by(|a, b| a.accuracy.surely().get().total_cmp(&b.accuracy.surely().get()))
}

fn prompting(case: &Case) -> Option<(Said, Basis, String)> {
    let (target, best) = (case.target.as_ref()?.value, best_prompt(case)?);
    let rated = best.accuracy.rated();
    let interval = match (rated.low, rated.rows) {
        (Some(low), Some(rows)) => {
            format!(", {} at the lower end of the interval over {} rows", percent(low), count(u64::from(rows)))
        }
        _ => String::new(),
    };
    let evidence = format!(
        "the best prompt, `{}`, is right on {} ({}{interval}: {}); wanted are {}",
        best.name,
        percent(rated.share),
        rated.basis,
        rated.source,
        percent(target.get()),
    );
    if best.accuracy.flatters() && best.accuracy.surely() >= target {
        let evidence = format!("{evidence}; these rows had a part in choosing it and flatter it: {SCORED}");
        return Some((Said::Unknown, Basis::Asked, evidence));
    }
    let basis = if rated.basis == "measured" { Basis::Measured } else { Basis::Stated };
    Some((said(best.accuracy.reaches(target)), basis, evidence))
}
