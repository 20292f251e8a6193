//! Decides: the questions say which lever, the sums whether it pays, and in which order.
//!
//! A prompt goes before fine-tuning where it gains something, answers no later and costs no more to begin. Fine-tuning is
//! told to whom the questions lead there, where it is more accurate than what comes before it. Either is worth it where its
//! outlay comes back within the horizon, halfway between the ends of what is known: beside today, and fine-tuning beside that
//! prompt too. Who has fine-tuned already, and has no better model, is told to label and to train again.

use rust_decimal::Decimal;

use super::{
    costs::Guide,
    economics::{Scale, Span, Sums, error_cost},
    evidence::Case,
    options::{self, Missing},
    questions::{self, Answered, Ask, Question, SCORED, Said},
    setup::{Lever, Setup},
    verdict::{Code, Step, Verdict},
    words::{amounts, comes_back, percent, short, weeks},
};

/// A verdict with what it rests on.
pub(super) struct Decision {
    pub(super) answers: Vec<Answered>,
    pub(super) today: Option<Sums>,
    /// Those of every option whose costs are known, by its name's place.
    pub(super) options: Vec<Option<Sums>>,
    pub(super) verdict: Verdict,
    /// What nobody has said, in the order in which it is needed.
    pub(super) asked: Vec<Ask>,
}

/// An option whose costs are known.
#[derive(Clone, Copy)]
struct Choice<'a> {
    setup: &'a Setup,
    sums: &'a Sums,
}

/// Decides.
pub(super) fn decide(case: &Case, guide: &Guide) -> Decision {
    let answers = questions::answers(case);
    let mut asked: Vec<Ask> =
        answers.iter().filter(|given| given.answer == Said::Unknown).map(|given| given.question.ask()).collect();
    let today = match (Sums::today(case, guide), &case.scenario.today) {
        (Some(Err(missing)), Some(setup)) => {
            asked.push(missing.ask(&setup.name));
            None
        }
        (Some(Ok(sums)), _) => Some(sums),
        _ => {
            asked.push(no_today());
            None
        }
    };
    let options: Vec<Result<Sums, Missing>> = match &today {
        Some(today) => case.scenario.options.iter().map(|setup| Sums::option(setup, case, guide, today)).collect(),
        None => vec![Err(Missing::Running); case.scenario.options.len()],
    };
    let flattered: Vec<String> =
        case.scenario.setups().filter(|of| of.accuracy.flatters()).map(|of| format!("`{}`", of.name)).collect();
    if !flattered.is_empty() {
        asked.push(Ask {
            what: format!("How often right, on rows that had no part in choosing it, is {}?", flattered.join(", ")),
            flag: SCORED,
            member: "/today",
        });
    }
    if today.is_some() {
        let missing = case.scenario.options.iter().zip(&options);
        asked.extend(missing.filter_map(|(setup, sums)| Some(sums.as_ref().err()?.ask(&setup.name))));
    }
    let options: Vec<Option<Sums>> = options.into_iter().map(Result::ok).collect();
    let verdict =
        Judge { case, answers: &answers, today: today.as_ref(), options: &options, guide }.verdict(&mut asked);
    Decision { answers, today, options, verdict, asked }
}

fn no_today() -> Ask {
    Ask {
        what: "What answers today, how accurate is it and what does it cost?".to_owned(),
        flag: "`txcat eval --data DIR`, --today STAGE, or --scenario FILE",
        member: "/today",
    }
}

struct Judge<'a> {
    case: &'a Case,
    answers: &'a [Answered],
    today: Option<&'a Sums>,
    options: &'a [Option<Sums>],
    guide: &'a Guide,
}

impl Judge<'_> {
    fn verdict(&self, asked: &mut Vec<Ask>) -> Verdict {
        let Some(today) = &self.case.scenario.today else {
            return match &self.case.unscored {
                Some(serves) => self.undecided(None, &format!("what serves, {serves}, was never scored: {SCORED}")),
                None => self.undecided(None, "nobody knows what answers today"),
            };
        };
        if let Some(target) = self.case.target.as_ref().map(|target| target.value)
            && today.accuracy.surely() >= target
        {
            if today.accuracy.flatters() {
                let rated = today.accuracy.rated();
                return self.undecided(
                    None,
                    &format!(
                        "`{}` is right on {} of {}, and rows that had a part in choosing it flatter it: whether it reaches the \
                         {} that are wanted, a held-out file says ({SCORED})",
                        today.name,
                        percent(rated.share),
                        rated.source,
                        percent(target.get()),
                    ),
                );
            }
            let says = format!("`{}` surely reaches the {} that are wanted", today.name, percent(target.get()));
            return told(Code::Keep, &says, Vec::new(), None);
        }
        let ends = self.answers.iter().find(|given| given.stops || given.answer == Said::Unknown);
        let Some(end) = ends else { return self.fine_tuning(asked) };
        let (stopped, evidence) = (Some(end.question), end.evidence.as_str());
        if end.answer == Said::Unknown {
            return self.undecided(stopped, &format!("“{}” is not answered: {evidence}", end.asks));
        }
        let prompt: Vec<Step> = self.prompt().map(|prompt| self.step(prompt)).into_iter().collect();
        let (code, why, steps) = match end.question {
            Question::Prompting => (Code::Prompt, "a prompt reaches what is wanted", prompt),
            Question::Data => {
                let again = done(None, "measure it, and ask again".to_owned());
                let why = "answers need facts that change or that no model has seen, and no training teaches those";
                (Code::RetrievalFirst, why, vec![self.retrieval(), again])
            }
            Question::Behaviour => (Code::StayWithPrompts, "no consistent change of behaviour is needed", prompt),
            Question::Labels => {
                let label = format!("label (`txcat data select` picks which) up to {} good ones", questions::LABELS);
                let steps = prompt.into_iter().chain([done(None, format!("{label}, and ask again"))]).collect();
                (Code::LabelFirst, "there are too few good labels to learn from", steps)
            }
            Question::Volume => {
                (Code::StayWithPrompts, "a model is not worth its keep for so few transactions", prompt)
            }
            Question::Upkeep => (Code::StayWithPrompts, "nobody would keep a model right", prompt),
        };
        told(code, &format!("{why} ({evidence})"), steps, stopped)
    }

    /// The retrieval that is described first, else what the guide says of any.
    fn retrieval(&self) -> Step {
        if let Some(choice) = self.choices(Lever::Retrieval).next() {
            return self.step(choice);
        }
        let price = self.guide.lever("rag").and_then(|row| row.per_month).map_or_else(String::new, |month| {
            format!(", {} {} a month by the guide", amounts(month), self.guide.currency)
        });
        done(None, format!("retrieve the facts that answers need{price}"))
    }

    /// All six questions lead to fine-tuning: whether it pays.
    fn fine_tuning(&self, asked: &mut Vec<Ask>) -> Verdict {
        let setups = || self.case.scenario.options.iter().filter(|setup| setup.lever == Lever::FineTune);
        let any = setups().next().is_some();
        if let Some(tuned) = self.tuned().filter(|_| !any) {
            return self.again(tuned);
        }
        let Some(scale) = self.scale() else { return self.undecided(None, "the volume is not known") };
        let Some(today) = self.today else {
            return self.undecided(None, "what today costs is not known");
        };
        if !any {
            asked.push(Ask {
                what: "Which way to fine-tune is there, how accurate is it and what does it cost?".to_owned(),
                flag: "`txcat train` and `txcat eval --stage adapter`, or --scenario FILE",
                member: "/option",
            });
            return self.undecided(None, "no way to fine-tune is described");
        }
        let prompt = self.prompt();
        let best_before = prompt.map_or(today.share, |prompt| prompt.sums.share);
        let better: Vec<Choice<'_>> =
            self.choices(Lever::FineTune).filter(|choice| choice.sums.share > best_before).collect();
        let priced = |setup: &Setup| self.choices(Lever::FineTune).any(|choice| choice.setup.name == setup.name);
        let unpriced = setups().find(|setup| setup.accuracy.share() > best_before && !priced(setup));
        let horizon = self.case.scenario.horizon();
        let leads = |choice: &Choice<'_>| prompt.filter(|prompt| leads(prompt, choice));
        let pays = |choice: &&Choice<'_>| {
            let beside = |before: &Sums| Span::within(scale.payback(before, choice.sums).likely, horizon);
            beside(today) && leads(choice).is_none_or(|prompt| beside(prompt.sums))
        };
        let best = better.iter().filter(pays).min_by_key(|choice| {
            let reaches = self.case.target.as_ref().is_none_or(|target| choice.setup.accuracy.reaches(target.value));
            (!reaches, self.total(choice.sums, scale))
        });
        let staying = || prompt.map(|prompt| self.step(prompt)).into_iter().collect::<Vec<_>>();
        let Some(best) = best else {
            return match (unpriced, self.tuned(), better.first()) {
                (None, Some(tuned), _) => self.again(tuned),
                (Some(setup), _, _) => self.undecided(None, &format!("what `{}` costs is not known", setup.name)),
                (None, None, Some(choice)) => {
                    let span = scale.payback(today, choice.sums);
                    let (bills, errors) = match &self.case.scenario.errors {
                        Some(_) => ("", ""),
                        None => (
                            " on bills alone",
                            "; nobody has said what a wrong answer costs (--contact-share, --review-share)",
                        ),
                    };
                    let says = format!(
                        "all six questions lead to fine-tuning, and it does not pay: the outlay for `{}` {}{bills}, and \
                         {horizon} months are given{errors}",
                        choice.setup.name,
                        comes_back(&span),
                    );
                    told(Code::StayWithPrompts, &says, staying(), None)
                }
                (None, None, None) => {
                    let says = "no way to fine-tune is more accurate than the best prompt";
                    told(Code::StayWithPrompts, says, staying(), None)
                }
            };
        };
        let reaches = self.case.target.as_ref().is_none_or(|target| best.setup.accuracy.reaches(target.value));
        let reach = if reaches { "and reaches it" } else { "and does not surely reach it either" };
        let span = scale.without_errors().payback(today, best.sums);
        let (fine, name) = (self.step(*best), &best.setup.name);
        let Some(prompt) = leads(best) else {
            let says = format!(
                "no prompt reaches what is wanted, none is worth a step of its own, and `{name}` is more accurate {reach}; \
                 its outlay {} on bills alone",
                comes_back(&span),
            );
            return told(Code::FineTune, &says, vec![fine], None);
        };
        let says = format!(
            "`{}` gains {} points for little and is there first, and does not reach what is wanted; `{name}` gains {} \
             more {reach}, and its outlay {} on bills alone",
            prompt.setup.name,
            short(100.0 * (prompt.sums.share.get() - today.share.get())),
            short(100.0 * (best.sums.share.get() - prompt.sums.share.get())),
            comes_back(&span),
        );
        told(Code::PromptThenFineTune, &says, vec![self.step(prompt), fine], None)
    }

    /// What answers today, where it learned from labels.
    fn tuned(&self) -> Option<&Setup> {
        self.case.scenario.today.as_ref().filter(|today| today.lever == Lever::FineTune)
    }

    /// More labels for a model that learned from labels, and training again.
    fn again(&self, tuned: &Setup) -> Verdict {
        let (scenario, rated) = (&self.case.scenario, tuned.accuracy.rated());
        let target = self.case.target.as_ref().map_or_else(String::new, |target| {
            format!(" and does not surely reach the {} that are wanted", percent(target.value.get()))
        });
        let says = format!(
            "`{}` learned from labels already; it is right on {} ({}){target}, and what more labels gain shows once they are there",
            tuned.name,
            percent(rated.share),
            rated.basis,
        );
        let cost = options::upkeep(tuned, self.guide).map_or_else(String::new, |(every, month)| {
            let each = amounts(month.times(Decimal::from(every)));
            format!(": {each} {} each time", self.guide.currency_of(scenario))
        });
        let hours = tuned
            .training_hours
            .map_or_else(String::new, |hours| format!(", of which {} hours of a machine, as it took", amounts(hours)));
        let label = "label what is doubtful (`txcat data select` picks which)".to_owned();
        let train = format!("train again (`txcat adapters retrain`) and let the gate compare both{cost}{hours}");
        let prompt = self.prompt().map(|prompt| self.step(prompt));
        let steps = prompt.into_iter().chain([done(None, label), done(None, train)]).collect();
        told(Code::LabelAndRetrain, &says, steps, None)
    }

    fn scale(&self) -> Option<Scale> {
        Some(Scale { volume: self.case.volume.as_ref()?.value, error: error_cost(self.case) })
    }

    fn choices(&self, lever: Lever) -> impl Iterator<Item = Choice<'_>> {
        let known = self.case.scenario.options.iter().zip(self.options);
        known.filter_map(move |(setup, sums)| {
            Some(Choice { setup, sums: sums.as_ref().filter(|_| setup.lever == lever)? })
        })
    }

    /// The most accurate prompt that gains something and comes back within the horizon with the errors that it avoids. Where
    /// nobody has said what errors cost, a gain is taken as worth it.
    fn prompt(&self) -> Option<Choice<'_>> {
        let today = self.today?;
        let worth = |choice: &Choice<'_>| match (self.scale(), &self.case.scenario.errors) {
            (Some(scale), Some(_)) => {
                Span::within(scale.payback(today, choice.sums).likely, self.case.scenario.horizon())
            }
            _ => true,
        };
        let gains = self.choices(Lever::Prompt).filter(|choice| choice.sums.share > today.share).filter(worth);
        gains.max_by(|a, b| a.sums.share.get().total_cmp(&b.sums.share.get()))
    }

    /// What the horizon costs with an option, errors included, halfway between the ends.
    fn total(&self, sums: &Sums, scale: Scale) -> Decimal {
        let month = sums.month(scale.volume).plus(scale.error.times(scale.errors(sums)));
        sums.one_off.plus(month.times(Decimal::from(self.case.scenario.horizon()))).middle()
    }

    fn step(&self, choice: Choice<'_>) -> Step {
        let currency = self.guide.currency_of(&self.case.scenario);
        let Choice { setup, sums } = choice;
        let rated = setup.accuracy.rated();
        let ready = sums.weeks.map_or_else(String::new, |range| format!("{}, ", weeks(range)));
        let monthly = self
            .case
            .volume
            .as_ref()
            .map_or_else(String::new, |volume| format!(", then {} a month", amounts(sums.month(volume.value))));
        let says = format!(
            "{}: {ready}{} {currency} once{monthly}; right on {} ({})",
            setup.lever.words(),
            amounts(sums.one_off),
            percent(rated.share),
            rated.basis,
        );
        done(Some(&setup.name), says)
    }

    fn undecided(&self, stopped_at: Option<Question>, why: &str) -> Verdict {
        told(Code::Undecided, why, Vec::new(), stopped_at)
    }
}

/// Whether a prompt comes before: it answers no later and costs no more to begin.
fn leads(prompt: &Choice<'_>, fine: &Choice<'_>) -> bool {
    let sooner = match (prompt.sums.weeks, fine.sums.weeks) {
        (Some(prompt), Some(fine)) => prompt.middle() <= fine.middle(),
        _ => true,
    };
    sooner && prompt.sums.one_off.middle() <= fine.sums.one_off.middle()
}

fn told(code: Code, why: &str, steps: Vec<Step>, stopped_at: Option<Question>) -> Verdict {
    Verdict { code, says: format!("{}: {why}.", code.words()), steps, stopped_at }
}

fn done(option: Option<&str>, says: String) -> Step {
    Step { option: option.map(str::to_owned), says }
}
