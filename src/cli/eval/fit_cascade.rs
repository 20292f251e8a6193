//! `txcat eval fit-cascade`: which stage answers what, so that a target is reached for the least money.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use rust_decimal::Decimal;

use super::{Evaluation, LabelChoice, Settings, chat, with_store};
use crate::{
    clock,
    evaluate::{cascade::StepAnswers, dataset::Dataset, scored::FileScore},
    experiments::{
        cascade::{self, Answered, Course, Scripted},
        ground::half,
        page::{File, Made},
    },
};

/// Name of the stage that is written.
const NAME: &str = "cascade";

/// Fits the thresholds of a cascade on dev: every `--stage`, in the order given, answers dev once; then all
/// combinations of thresholds are tried on one half of it, and those that none beats are measured on the other.
///
/// `--scripted 0.82,0.90 --price 1.40` puts a model that is right by lot, at that price for 1,000 transactions, behind the
/// stages: what a cascade with a model like that would cost and reach, before anybody pays for one.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// What is asked.
    #[command(flatten)]
    pub eval: super::Options,

    /// Which labels.
    #[command(flatten)]
    pub choice: LabelChoice,

    /// Accuracy to reach.
    #[arg(long, value_name = "SHARE", default_value_t = 0.92)]
    pub target: f64,

    /// Put scripted models of these accuracies behind the stages, separated by commas.
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    pub scripted: Vec<f32>,

    /// What 1,000 answers of a scripted model cost.
    #[arg(long, value_name = "AMOUNT", default_value = "1.40")]
    pub price: Decimal,

    /// Write the stage file with the cascade as one more stage, to be used with --stages.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Write the report and its plot into this folder.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the data set, the database or a stage can't be used, or there are too few steps.
pub(super) async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let Options { eval, choice, target, scripted, price, out, report } = options;
    let eval = super::Options { choice, ..eval };
    ensure!((0.0..=1.0).contains(&target), "--target takes a share from 0 to 1");
    ensure!(scripted.iter().all(|of| (0.0..=1.0).contains(of)), "--scripted takes shares from 0 to 1");
    ensure!(price >= Decimal::ZERO, "--price can't be negative");
    let real = eval.stages.len() - usize::from(scripted.is_empty()).min(eval.stages.len());
    ensure!(real >= 1, "name at least two steps with --stage, or one and a --scripted model behind it");
    ensure!(out.is_none() || scripted.is_empty(), "a scripted model can't serve: --out goes without --scripted");
    chat::check(settings)?;
    let dataset = Dataset::open(&eval.data)?;
    let files = vec![dataset.file("dev")?.clone()];
    let Evaluation { scores, .. } =
        with_store(settings, async |store| Evaluation::run(&eval, settings, &dataset, &files, store).await).await?;
    ensure!(scores.len() == eval.stages.len(), "every step must be another stage");
    let categories = dataset.taxonomy().assignable().len();
    let mut steps: Vec<StepAnswers> = scores.iter().map(|score| step(score, categories)).collect();
    let lasts = if scripted.is_empty() { steps.pop().into_iter().collect() } else { Vec::new() };
    let items = &scores[0].items;
    let answered = Answered {
        ids: items.iter().map(|item| item.id.clone()).collect(),
        fits: items.iter().map(|item| half(item.key.as_str())).collect(),
        steps,
    };
    let model = |&accuracy: &f32| cascade::scripted(&answered, Scripted { accuracy, per_1000: price }, super::SEED);
    let lasts: Vec<StepAnswers> = lasts.into_iter().chain(scripted.iter().map(model)).collect();
    let courses = cascade::run(&answered, &lasts, target);
    let currency = scores.iter().find_map(|score| score.cost.as_ref()).map_or("USD", |cost| &cost.currency);
    let words = told(&dataset, &scores);
    let page = cascade::page(&answered, &courses, target, &words, currency);
    if eval.json {
        println!("{}", serde_json::to_string(&courses)?);
    } else {
        println!("{words}\n\n{}", page.shown());
    }
    if let Some(dir) = report {
        fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        let made = Made { command: crate::cli::experiments::command(), at: clock::now() };
        for File { name, text } in page.files(&made)? {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    if let (Some(path), [course]) = (out, courses.as_slice()) {
        let best = course.frontier[course.chosen].fitted.accuracy.map_or(0.0, |of| of.share);
        ensure!(
            best >= target,
            "{} was not written: no cascade of these steps reaches {:.1} % where thresholds are chosen, the best has {:.1} %",
            path.display(),
            100.0 * target,
            100.0 * best
        );
        let measured = course.frontier[course.chosen].measured.accuracy;
        ensure!(
            measured.is_none_or(|of| of.high >= target),
            "{} was not written: the cascade that was chosen for {:.1} % is right on {:.1} % of the rows that it was not chosen on, \
             which is surely less",
            path.display(),
            100.0 * target,
            100.0 * measured.map_or(0.0, |of| of.share)
        );
        let before = fs::read_to_string(&eval.stage_file)?;
        let text = format!("{}\n{}", before.trim_end(), stage(course, &eval.stages, target));
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        eprintln!(
            "wrote {}: measure it with txcat eval --stages {} --stage {NAME}, and serve it with the same",
            path.display(),
            path.display()
        );
    }
    Ok(())
}

/// What was measured: data, rows, engines, seed.
fn told(dataset: &Dataset, scores: &[FileScore]) -> String {
    let engine = |score: &FileScore| format!("{} is {}", score.answerer.name, score.answerer.engine);
    format!(
        "Data set `{}`, the {} rows of its file `{}`, seed {}; {}. No test file is opened.",
        super::data_set(dataset),
        scores[0].items.len(),
        scores[0].file,
        super::SEED,
        scores.iter().map(engine).collect::<Vec<_>>().join(", "),
    )
}

fn step(score: &FileScore, categories: usize) -> StepAnswers {
    let judged = score.items.iter().map(|item| (item.scored.answer < categories).then(|| item.scored.judged()));
    let cost = score.cost.as_ref().map_or(Decimal::ZERO, |cost| cost.per_1000 / Decimal::from(1_000));
    StepAnswers { stage: score.answerer.name.clone(), judged: judged.collect(), cost }
}

/// The cascade as the stage file has it.
fn stage(course: &Course, names: &[String], target: f64) -> String {
    let mut text = format!(
        "\n# Fitted on dev by `txcat eval fit-cascade`: right on {:.1} % where it was chosen.\n[[stage]]\nname = \"{NAME}\"\n\
         engine = \"cascade\"\nenrichment = \"full\"\ntarget = {target}\n",
        100.0 * course.frontier[course.chosen].fitted.accuracy.map_or(0.0, |of| of.share),
    );
    for (name, accepts) in names.iter().zip(&course.frontier[course.chosen].plan.accepts) {
        text.push_str(&format!("\n[[stage.step]]\nstage = \"{name}\"\n"));
        for (group, threshold) in [("known", accepts.known), ("unknown", accepts.unknown)] {
            if let Some(threshold) = threshold {
                text.push_str(&format!("{group} = {threshold}\n"));
            }
        }
    }
    text
}
