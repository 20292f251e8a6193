//! `txcat adapters retrain`: from what people have said to a candidate, in one command.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::evaluate::{Evaluate, tell_next};
use crate::{
    access::LOCAL,
    adapters::{
        gate::Limits,
        registry::{self, Registration},
    },
    cli::{
        Settings,
        labels::LabelChoice,
        models,
        service::Serving,
        train::{Source, Training, interrupted},
    },
    clock,
    domain::{Taxonomy, adapter::EVERYONE},
    evaluate::written::{self, Written},
    model::AdapterBank,
    store::{LabelledTransaction, Store},
};

/// Newest labels that are kept for the gate, and those before them for calibration.
const HELD_OUT: f64 = 0.15;
/// How the registry writes that an adapter reads the descriptor, amount and direction only.
const PLAIN: &str = "none";
/// Fewer labels than this are no training.
const LEAST_LABELS: usize = 100;

/// Takes every label in the database (corrections, and labels that came with imported data), keeps the newest
/// 15 % for the gate and the 15 % before them to calibrate on, checks and learns from the rest, registers the
/// result as a candidate, and puts it through the gate beside the champion.
#[derive(Debug, clap::Args)]
pub struct Retrain {
    /// How to train. Without a name, the candidate is called like the champion.
    #[command(flatten)]
    pub training: Training,

    /// Whose champion is renewed.
    #[arg(long, value_name = "GROUP", default_value = EVERYONE)]
    pub group: String,

    /// What to call the candidate. [default: the champion's name, or the folder's]
    #[arg(long)]
    pub name: Option<String>,

    /// A lexicon (CSV: term, category, weight) to learn from as well.
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,

    /// At most so many labels, the newest.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub label_limit: u32,

    /// Where the labels are written as a data set. [default: OUT-labels]
    #[arg(long, value_name = "DIR")]
    pub labels_out: Option<PathBuf>,

    /// Seeds everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Which taxonomy.
    #[command(flatten)]
    pub serving: Serving,
}

impl Retrain {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let taxonomy = self.serving.taxonomy()?;
        let champion = store
            .adapters(Some(taxonomy.version()))
            .await?
            .into_iter()
            .find(|adapter| adapter.is_champion_of(taxonomy.version(), &self.group));
        let labels = store.labelled(self.label_limit).await?;
        ensure!(
            labels.len() >= LEAST_LABELS,
            "people have labelled {} transactions; training begins at {LEAST_LABELS}",
            labels.len()
        );
        let folder = self.labels_out.clone().unwrap_or_else(|| beside(&self.training.out));
        let kept = write(&folder, labels, &taxonomy)?;
        println!(
            "1/4 {} labels to learn from, {} to calibrate on, {} for the gate ({})",
            kept[0],
            kept[1],
            kept[2],
            folder.display()
        );

        println!("2/4 check and train");
        let plain = champion.as_ref().is_some_and(|champion| champion.facts["enrichment"] == PLAIN);
        let source = Source {
            data: folder.clone(),
            label_budget: kept[0],
            labels: None,
            lexicon: self.lexicon,
            plain_text: plain,
            seed: self.seed,
            manifest: None,
            without_check: None,
        };
        let (out, target) = (self.training.out.clone(), self.training.target);
        let base = models::pull(settings, None).await?;
        self.training.fit(source, base.clone(), interrupted()).await?;

        println!("3/4 register");
        let name = self.name.or_else(|| champion.as_ref().map(|champion| champion.name.clone()));
        let what = Registration { dir: &out, name: name.as_deref(), account_group: &self.group, by: LOCAL };
        let bank = AdapterBank::open(&base)?.in_precision(settings.compute.precision);
        let candidate = registry::register(store, &bank, what, clock::now()).await?;
        println!("{} is {}", candidate.reference(), candidate.state);

        println!("4/4 the gate");
        let evaluate = Evaluate {
            reference: candidate.reference(),
            data: folder,
            choice: LabelChoice { label_budget: kept[0], labels: None },
            files: vec!["test_newest".to_owned()],
            target,
            p95_ms: Limits::default().most_p95_ms,
            ece: Limits::default().most_ece,
            json: false,
        };
        let (candidate, report) = evaluate.measure(settings, store).await?;
        super::registered::print_checks(&report.checks);
        if let Some(champion) = champion {
            println!(
                "the champion may have learned from some of these rows; that speaks for it, not for the candidate"
            );
            store.close_plan(champion.id, candidate.id, clock::now()).await?;
        }
        tell_next(&candidate, &report);
        Ok(())
    }
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push("-labels");
    out.with_file_name(name)
}

/// Writes labelled rows as a data set, newest rows as `test_newest`, those before as `dev`, the rest as `pool`;
/// returns how many are in pool, dev and test.
fn write(dir: &Path, mut labels: Vec<LabelledTransaction>, taxonomy: &Taxonomy) -> anyhow::Result<[usize; 3]> {
    labels.sort_by(|a, b| {
        let place = |row: &LabelledTransaction| (row.transaction.posted_at, row.transaction.id.clone());
        place(a).cmp(&place(b))
    });
    let held = (HELD_OUT * labels.len() as f64).round() as usize;
    let test = labels.split_off(labels.len() - held);
    let dev = labels.split_off(labels.len() - held);
    fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    let save = |name: &str, bytes: Vec<u8>| {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))
    };
    save("categories.csv", written::categories(taxonomy)?)?;
    for (name, rows) in [("pool.csv", &labels), ("dev.csv", &dev), ("test_newest.csv", &test)] {
        fn row(row: &LabelledTransaction) -> Written<'_> {
            Written { transaction: &row.transaction, category: row.category.as_str(), labelled_by: &row.labelled_by }
        }
        save(name, written::rows(rows.iter().map(row))?)?;
    }
    Ok([labels.len(), dev.len(), test.len()])
}
