//! `txcat eval --replay`: what an analyst's few decisions make of the months that follow.

use std::{collections::HashMap, fs::Permissions, os::unix::fs::PermissionsExt as _, sync::Arc};

use anyhow::{Context, ensure};

use super::{
    Options, Replay, SEED,
    evaluation::{adapter_for, rows_bar},
};
use crate::{
    adapters::roster,
    categorize::{Calibration, Engine, LabelledExample, Sources, Stage, StageFile},
    cli::{
        Settings,
        experiments::{command, finish},
        models,
        service::with_store,
    },
    clock,
    embedded::{Durability, Postgres},
    enrich::Enricher,
    evaluate::{
        corpus::Corpus,
        dataset::{DataFile, Dataset},
    },
    experiments::{
        page::Made,
        replay::{self, Ground},
        replay_page,
    },
    model::Encoder,
    store::Store,
};

/// The database that every way starts from a copy of.
const BEFORE: &str = "before";
/// The database that belongs to the server itself.
const MAINTENANCE: &str = "postgres";
/// What the analyst may look at where nothing is said, in per cent of the rows.
const BUDGETS: [f64; 4] = [0.0, 1.0, 2.0, 5.0];
/// The stage that is replayed where none is named.
const STAGE: &str = "adapter";

pub(super) async fn run(
    options: &Options,
    settings: &Settings,
    dataset: &Dataset,
    files: &[DataFile],
) -> anyhow::Result<()> {
    let [file] = files else { anyhow::bail!("a replay takes one file: name it with --files") };
    ensure!(options.stages.len() < 2, "a replay takes one stage");
    let Replay { budgets, out, .. } = &options.replay;
    ensure!(budgets.iter().all(|budget| (0.0..=100.0).contains(budget)), "--budgets takes per cents");
    let budgets = if budgets.is_empty() { &BUDGETS[..] } else { budgets };
    let budgets: Vec<f64> = budgets.iter().map(|budget| budget / 100.0).collect();
    let made = Made { command: command(), at: clock::now() };
    let choice = options.choice.choice(SEED)?;
    let bar = rows_bar(None, "reading");
    let corpus = tokio::task::block_in_place(|| Corpus::read(dataset, choice, || bar.inc(1)))?;
    let ground = tokio::task::block_in_place(|| Ground::read(dataset, &file.name, &corpus))?;
    bar.finish_and_clear();
    let stage = Arc::new(stage(options, settings, dataset, &corpus).await?);

    // A server of its own: what is streamed through it never meets what is served, and is gone afterwards.
    // Its user is another one, who must be able to get there.
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir();
    let folder = folder.context("can't make a temporary folder")?;
    let server = Postgres::start_in(folder.path(), Durability::Forgetful).await?;
    let courses = courses(&ground, &stage, &server, &budgets, settings).await;
    server.stop().await?;
    let mut courses = courses?;
    replay::compare(&ground, &mut courses, SEED);
    let page = replay_page::page(&ground, stage.engine(), corpus.rows.len(), SEED, &courses);
    finish(options.json, out.as_deref(), &page, &made, &courses)
}

async fn courses(
    ground: &Ground,
    stage: &Arc<Stage>,
    server: &Postgres,
    budgets: &[f64],
    settings: &Settings,
) -> anyhow::Result<Vec<replay::Course>> {
    let connections = settings.database.max_connections;
    let before = Store::connect(&server.url(BEFORE), connections).await?;
    let filled = ground.prepare(&before).await;
    before.close().await;
    filled?;
    let mut courses = Vec::new();
    for (nth, way) in replay::ways(budgets).into_iter().enumerate() {
        let name = format!("way_{nth}");
        Store::copy_database(&server.url(MAINTENANCE), BEFORE, &name).await?;
        let store = Store::connect(&server.url(&name), connections).await?;
        let what = replay_page::name(&way);
        let bar = rows_bar(Some(ground.rows.len()), &what);
        let course = replay::run(ground, stage, &store, way, SEED, |rows| bar.inc(rows as u64)).await;
        bar.finish_and_clear();
        store.close().await;
        let course = course?;
        eprintln!("{}", replay_page::line(&course));
        courses.push(course);
    }
    Ok(courses)
}

/// The bought labels, with the merchants of the database, and what was fitted there.
async fn known(
    store: &Store,
    dataset: &Dataset,
    corpus: &Corpus,
) -> anyhow::Result<(Vec<LabelledExample>, HashMap<String, Calibration>)> {
    let merchants = Enricher::open(store.clone()).await?.merchants().await?;
    let fitted = roster::fitted(store, dataset.taxonomy()).await?;
    Ok((corpus.labelled(|row| merchants.of(row)), fitted))
}

/// The stage, with what was fitted for it before where it brings no thresholds of its own.
async fn stage(options: &Options, settings: &Settings, dataset: &Dataset, corpus: &Corpus) -> anyhow::Result<Stage> {
    let file = StageFile::load(&options.stage_file)?;
    let name = options.stages.first().map_or(STAGE, String::as_str);
    let entry = file.entry(name)?.clone();
    ensure!(!entry.needs(Engine::Prompt, &file), "a replay asks no chat model, and `{name}` does");
    let encoder = Encoder::load(models::pull(settings, None).await?)?;
    let adapter = adapter_for(options, dataset, &encoder, settings.compute.precision)?;
    let (labelled, fitted) = with_store(settings, async |store| known(store, dataset, corpus).await).await?;
    let sources = Sources {
        stages: &file,
        taxonomy: dataset.taxonomy(),
        encoder,
        adapter,
        chat: None,
        examples: None,
        prompts: &options.prompts,
        labelled: &labelled,
        calibrations: &fitted,
    };
    let stage = Stage::build(&entry, &sources).await?;
    ensure!(
        stage.acceptance.is_some(),
        "no thresholds were fitted for `{}`: measure it on dev first, with txcat eval",
        stage.engine()
    );
    Ok(stage)
}
