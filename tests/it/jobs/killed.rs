//! Workers and Postgres killed at random points: what comes of a run is what comes of it undisturbed.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use txcat::{
    categorize::{Lineup, Stage},
    clock,
    domain::{
        Acceptance, ChangeState, Enrichment, RecategorizationPhase, RecategorizationScope, RecategorizationStep,
        Taxonomy, Urgency,
    },
    enrich::Enricher,
    jobs::recategorization::{Recategorize, Step},
    pipeline::Pipeline,
    recategorize::{
        Guards, Report,
        apply::{self, Ask},
    },
    store::{NewJob, Store},
};

use crate::{
    harness::{Run as _, Scripted, Server, txcat},
    model::tiny_encoder,
    recategorize::{everything, rows},
    store::hour,
};

/// Seconds without a heartbeat until a worker counts as dead.
const LEASE: &str = "2";

/// A server that may be killed, with rows that an engine by script answered, and worker processes beside it.
struct Ground {
    workers: Vec<Child>,
    encoder: TempDir,
    store: Store,
    server: Server,
    luck: ChaCha8Rng,
}

/// Whom a point kills.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Worker,
    Postgres,
}

/// Where to kill: after this share of the phase, and so long after that was seen.
#[derive(Debug, Clone, Copy)]
struct Point {
    share: f64,
    later: Duration,
    victim: Victim,
}

impl Ground {
    async fn with(count: usize, seed: u64) -> Self {
        let server = Server::start().await;
        let store = Store::connect(&server.url(), 4).await.unwrap();
        let taxonomy = Taxonomy::consumer().unwrap();
        store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
        let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(Scripted::new(taxonomy.version())));
        stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
        let pipeline = Pipeline::new(store.clone(), Enricher::new(store.clone()), Lineup::alone(stage), 0.0);
        for rows in rows(count).chunks(1_000) {
            pipeline.process(rows, None, hour(1_000)).await.unwrap();
        }
        let (encoder, _) = tiny_encoder();
        Self { workers: Vec::new(), encoder, store, server, luck: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Starts workers, and waits until the queue knows them: from then on they stop when they are told to.
    async fn hire(&mut self, count: usize) {
        for _ in 0..count {
            let worker = worker(&self.server.url(), self.encoder.path());
            self.workers.push(worker);
        }
        let known = "select metadata ->> 'pid' from graphile_worker._private_workers";
        loop {
            let known = self.text(known).await;
            let is_known = |worker: &Child| known.lines().any(|pid| pid == worker.id().to_string());
            if self.workers.iter().all(is_known) {
                return;
            }
            for worker in &mut self.workers {
                assert_eq!(worker.try_wait().unwrap(), None, "a worker that began goes on");
            }
        }
    }

    /// The lines that a query gives, whatever the server is going through.
    async fn text(&self, query: &str) -> String {
        loop {
            let told = async {
                let mut connection = PgConnection::connect(&self.server.url()).await?;
                sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(query)).fetch_all(&mut connection).await
            };
            match told.await {
                Ok(lines) => return lines.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\n"),
                Err(sqlx::Error::Database(refusal)) if refusal.code().is_some_and(|code| code.starts_with("42")) => {
                    panic!("{query}: {refusal}")
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn report(&self, run: i64) -> Report {
        loop {
            if let Ok(report) = Report::of(&self.store, run).await {
                return report;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Has workers begin runs, and returns their numbers once they are planned.
    async fn begin(&self, scopes: &[RecategorizationScope]) -> Vec<i64> {
        let before: i64 = self.text("select coalesce(max(id), 0)::text from recategorizations").await.parse().unwrap();
        for scope in scopes {
            let asked = Recategorize {
                scope: scope.clone(),
                last_days: None,
                reason: "a night".to_owned(),
                adapter: None,
                apply: false,
                due: None,
            };
            let payload = serde_json::to_value(asked).unwrap();
            let (priority, task) = (Urgency::Nightly.priority(), "recategorize");
            let job = NewJob { task, payload, queue: None, key: None, priority, run_at: None, keeps_time: false };
            self.store.add_job(job).await.unwrap();
        }
        loop {
            let query = format!("select id::text from recategorizations where id > {before} order by id");
            let runs: Vec<i64> = self.text(&query).await.lines().map(|id| id.parse().unwrap()).collect();
            if runs.len() == scopes.len() {
                return runs;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn ask(&self, run: i64, step: RecategorizationStep) {
        let now = clock::now();
        match step {
            RecategorizationStep::Apply => {
                let ask =
                    Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "night".to_owned() };
                apply::allow(&self.store, run, &ask, now).await.unwrap();
            }
            RecategorizationStep::Undo => apply::allow_undo(&self.store, run, "night", now).await.unwrap(),
            _ => {}
        }
        Step { run, step, urgency: Urgency::Interactive }.ask(&self.store).await.unwrap();
    }

    /// Waits until a run stands there, and kills at these points of the way.
    async fn reach(&mut self, run: i64, phase: RecategorizationPhase, points: &[Point]) {
        for point in points {
            loop {
                let report = self.report(run).await;
                if report.phase == phase || share_of(&report) >= point.share {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // Anywhere within a page, a chunk, or what comes after.
            tokio::time::sleep(point.later).await;
            self.strike(run, point.victim).await;
        }
        while self.report(run).await.phase != phase {
            tokio::task::yield_now().await;
        }
    }

    async fn strike(&mut self, run: i64, victim: Victim) {
        let report = self.report(run).await;
        let (phase, share) = (report.phase, share_of(&report));
        if victim == Victim::Postgres {
            println!("  kill -9 Postgres, {phase} at {:.0} %", 100.0 * share);
            self.server.kill_and_start().await;
            return;
        }
        let at_work = match report.job.and_then(|job| job.worker) {
            Some(worker) => {
                let pid =
                    format!("select metadata ->> 'pid' from graphile_worker._private_workers where id = '{worker}'");
                self.text(&pid).await.parse::<u32>().ok()
            }
            None => None,
        };
        let place = self.workers.iter().position(|worker| Some(worker.id()) == at_work).unwrap_or(0);
        println!(
            "  kill -9 a worker{}, {phase} at {:.0} %",
            if at_work.is_some() { "" } else { " that rests" },
            100.0 * share
        );
        let mut worker = self.workers.remove(place);
        worker.kill().unwrap();
        worker.wait().unwrap();
        self.hire(1).await;
    }

    /// What apps and people see, without what a later run numbers or dates otherwise.
    async fn checksum(&self) -> String {
        self.text(
            "select md5(string_agg(line, '|' order by line)) from (
                select
                    concat_ws(' ', in_force.transaction_id, in_force.category, in_force.decided_by, in_force.confidence,
                        in_force.review_status, predictions.engine, review_items.reason, review_items.doubt,
                        review_items.resolved_at is null) as line
                from in_force
                join predictions on predictions.id = in_force.prediction_id
                left join review_items on review_items.transaction_id = in_force.transaction_id
            ) as lines",
        )
        .await
    }

    /// The same to the byte.
    async fn dump(&self) -> String {
        let of = |table: &str| format!("select md5(string_agg(t::text, '|' order by t::text)) from {table} t");
        format!("{} {}", self.text(&of("in_force")).await, self.text(&of("review_items")).await)
    }

    /// How often rows were looked at, and answered by a run, beyond once each.
    async fn twice(&self, run: i64) -> String {
        self.text(&format!(
            "select concat_ws(' ',
                (select seen - rows from recategorizations where id = {run}),
                (select count(*) - count(distinct transaction_id) from predictions where recategorization_id = {run}),
                (select count(*) - count(distinct transaction_id) from events
                    where recategorization_id = {run} and cause = 'recategorization'),
                (select count(*) from recategorization_changes where run_id = {run})
                    - (select count(*) from predictions where recategorization_id = {run}))"
        ))
        .await
    }

    /// Tells all workers to stop, and waits until they have.
    fn dismiss(&mut self) {
        for worker in &mut self.workers {
            kill(Pid::from_raw(worker.id().cast_signed()), Signal::SIGTERM).unwrap();
        }
        for mut worker in self.workers.drain(..) {
            assert!(worker.wait().unwrap().success(), "a worker that is told to stop ends well");
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

fn worker(url: &str, encoder: &Path) -> Child {
    let settings = ["--concurrency", "1", "--lease", LEASE, "--drain", "5", "--stage", "few_shot", "--encoder-dir"];
    txcat(&["worker"]).args(settings).arg(encoder).on(url).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How much of its phase a run has behind it.
fn share_of(report: &Report) -> f64 {
    let of = |states: &[ChangeState]| -> u64 {
        report.changes.iter().filter(|of| states.contains(&of.state)).map(|of| of.rows).sum()
    };
    let all = of(&ChangeState::ALL).max(1);
    let done = match report.phase {
        RecategorizationPhase::Predicting => return report.seen as f64 / report.rows.max(1) as f64,
        RecategorizationPhase::Applying => all - of(&[ChangeState::Proposed]),
        RecategorizationPhase::Undoing => all - of(&[ChangeState::Applied]),
        _ => all,
    };
    done as f64 / all as f64
}

/// So many points, the phases and victims in turn, at random places.
fn points(count: usize, luck: &mut ChaCha8Rng) -> [Vec<Point>; 3] {
    let mut of: [Vec<Point>; 3] = Default::default();
    let mut victims: Vec<Victim> =
        [Victim::Worker, Victim::Postgres, Victim::Worker].into_iter().cycle().take(count).collect();
    victims.shuffle(luck);
    for (n, victim) in victims.into_iter().enumerate() {
        let later = Duration::from_millis(luck.random_range(0..200));
        of[n % 3].push(Point { share: luck.random_range(0.0..0.9), later, victim });
    }
    for points in &mut of {
        points.sort_by(|one, other| one.share.total_cmp(&other.share));
    }
    of
}

async fn killed_at(count: usize, rows: usize) {
    let mut ground = Ground::with(rows, 27).await;
    let before = ground.dump().await;
    ground.hire(2).await;
    let undisturbed = ground.begin(&[everything()]).await[0];
    ground.reach(undisturbed, RecategorizationPhase::Previewed, &[]).await;
    ground.ask(undisturbed, RecategorizationStep::Apply).await;
    ground.reach(undisturbed, RecategorizationPhase::Applied, &[]).await;
    let applied = ground.checksum().await;
    ground.ask(undisturbed, RecategorizationStep::Undo).await;
    ground.reach(undisturbed, RecategorizationPhase::Undone, &[]).await;
    assert_eq!(ground.dump().await, before, "undo gives back every byte");

    let [previewing, applying, undoing] = points(count, &mut ground.luck);
    println!("{rows} rows, {count} points");
    let run = ground.begin(&[everything()]).await[0];
    ground.reach(run, RecategorizationPhase::Previewed, &previewing).await;
    ground.ask(run, RecategorizationStep::Apply).await;
    ground.reach(run, RecategorizationPhase::Applied, &applying).await;
    assert_eq!(ground.checksum().await, applied, "as an undisturbed run leaves it");
    assert_eq!(ground.twice(run).await, "0 0 0 0", "every row exactly once");
    let changed = ground.report(run).await.changes;
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].rows > rows as u64 / 4, "enough of them change to show anything: {changed:?}");
    ground.ask(run, RecategorizationStep::Undo).await;
    ground.reach(run, RecategorizationPhase::Undone, &undoing).await;
    assert_eq!(ground.dump().await, before, "undo gives back every byte");
    println!("  {} rows changed and changed back, each once", changed[0].rows);
    ground.dismiss();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_three_points_a_run_ends_as_an_undisturbed_one() {
    killed_at(3, 2_500).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: twenty thousand rows, ten points"]
async fn killed_at_ten_points_a_run_ends_as_an_undisturbed_one() {
    killed_at(10, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: measures one, two and four workers"]
async fn two_and_four_workers_share_runs_and_do_nothing_twice() {
    const ROWS: usize = 12_000;
    let mut ground = Ground::with(ROWS, 4).await;
    let accounts = ground.text("select distinct account_id from transactions order by 1").await;
    let scope = |account: &str| RecategorizationScope {
        account_ids: vec![account.parse().unwrap()],
        ..RecategorizationScope::default()
    };
    let scopes: Vec<RecategorizationScope> = accounts.lines().map(scope).collect();
    let mut alone = None;
    for workers in [1, 2, 4] {
        ground.hire(workers).await;
        let begun = Instant::now();
        let runs = ground.begin(&scopes).await;
        for &run in &runs {
            ground.reach(run, RecategorizationPhase::Previewed, &[]).await;
        }
        let took = begun.elapsed().as_secs_f64();
        let alone = *alone.get_or_insert(took);
        println!(
            "{workers} workers, {} runs over {ROWS} rows: {took:.1} s, {:.0} rows/s, {:.2} times one worker",
            runs.len(),
            ROWS as f64 / took,
            alone / took,
        );
        let list = runs.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let seen = ground.text(&format!("select sum(seen)::text from recategorizations where id in ({list})")).await;
        assert_eq!(seen, ROWS.to_string(), "every row once");
        ground.dismiss();
    }
}
