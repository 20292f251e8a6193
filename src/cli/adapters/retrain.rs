//! `txcat adapters retrain`: from what people have said to a candidate, in one command.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

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

/// At most so many of the labels are kept for the gate, and as many for calibration.
const HELD_OUT: f64 = 0.15;
/// Fewer rows than this compare nothing, as the gate looks at no smaller category by itself.
const LEAST_COMPARED: usize = 30;
/// How the registry writes that an adapter reads the descriptor, amount and direction only.
const PLAIN: &str = "none";
/// Fewer labels than this are no training.
const LEAST_LABELS: usize = 100;
/// Of the store's labels, the newest so many are learned from where nothing else is said.
pub(super) const LABEL_LIMIT: u32 = 20_000;
/// From this share of the labels that the champion learned from on, others are as good a ground.
const ENOUGH: f64 = 0.5;

/// Takes every label in the database (corrections, and labels that came with imported data), checks and learns from
/// them, registers the result as a candidate, and puts it through the gate beside the champion. For the gate the newest
/// labels are kept that nobody chose for their answer (audits, and labels that came with the data), because people
/// correct what the champion got wrong; those before them are kept to calibrate on: at most 15 % of all labels each.
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
    #[arg(long, value_name = "N", default_value_t = LABEL_LIMIT)]
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
        let taxonomy = self.serving.taxonomy_to_write(store).await?;
        let champion = store
            .adapters(Some(taxonomy.version()))
            .await?
            .into_iter()
            .find(|adapter| adapter.is_champion_of(taxonomy.version(), &self.group));
        let split = Split::in_store(store, self.label_limit, taxonomy.version()).await?;
        let labels = split.rows();
        if labels < LEAST_LABELS {
            let foreign = match split.foreign {
                0 => String::new(),
                foreign => format!(" ({foreign} labels more are no category of it)"),
            };
            bail!(
                "people have labelled {labels} transactions in {}{foreign}; training begins at {LEAST_LABELS}",
                taxonomy.version()
            );
        }
        let folder = self.labels_out.clone().unwrap_or_else(|| beside(&self.training.out));
        if split.foreign > 0 {
            eprintln!("txcat: {} labels are no category of {}: they are left out", split.foreign, taxonomy.version());
        }
        let [learned, calibrated, compared] = split.write(&folder, &taxonomy)?;
        let before = champion.as_ref().and_then(|champion| champion.facts["labels"].as_u64()).unwrap_or_default();
        if let Some(warning) = few(learned, before) {
            eprintln!("txcat: {warning}");
        }
        println!(
            "1/4 {learned} labels to learn from, {calibrated} to calibrate on, {compared} for the gate ({})",
            folder.display()
        );

        println!("2/4 check and train");
        let plain = champion.as_ref().is_some_and(|champion| champion.facts["enrichment"] == PLAIN);
        let source = Source {
            data: folder.clone(),
            label_budget: learned,
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
        let candidate = registry::register(store, &bank, what, clock::now()).await?.adapter;
        println!("{} is {}", candidate.reference(), candidate.state);

        if let Some(champion) = champion {
            store.close_plan(champion.id, candidate.id, clock::now()).await?;
        }
        if compared == 0 {
            println!(
                "4/4 the gate: not made, and shut. It wants {LEAST_COMPARED} labels that nobody chose for their answer, \
                 beside as many to calibrate on: draw audits (serve --audit-share), or score files of your own \
                 (txcat adapters evaluate {} --data DIR)",
                candidate.reference()
            );
            return Ok(());
        }
        println!("4/4 the gate");
        let evaluate = Evaluate {
            reference: candidate.reference(),
            data: folder,
            choice: LabelChoice { label_budget: learned, labels: None },
            files: vec!["test_newest".to_owned()],
            target,
            p95_ms: Limits::default().most_p95_ms,
            ece: Limits::default().most_ece,
            json: false,
        };
        let (candidate, report) = evaluate.measure(settings, store).await?;
        super::registered::print_checks(&report.checks);
        tell_next(&candidate, &report);
        Ok(())
    }
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push("-labels");
    out.with_file_name(name)
}

/// What to say where there are far fewer labels than the champion learned from.
pub(super) fn few(labels: usize, champion: u64) -> Option<String> {
    let is_few = (labels as f64) < ENOUGH * champion as f64;
    is_few.then(|| {
        format!(
            "the champion learned from {champion} labels, and {labels} in the database are to be learned from: what is trained \
             on these alone may know less (txcat train takes a data set)"
        )
    })
}

/// Labels by what they are for.
pub(super) struct Split {
    pool: Vec<LabelledTransaction>,
    dev: Vec<LabelledTransaction>,
    test: Vec<LabelledTransaction>,
    /// Labels that are no category of the taxonomy: they are for nothing.
    foreign: usize,
}

impl Split {
    /// Of the newest labels in the database, those of a taxonomy that is stored there.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn in_store(store: &Store, limit: u32, taxonomy: &str) -> anyhow::Result<Self> {
        let mut labels = store.labelled(limit).await?;
        let all = labels.len();
        if let Some(stored) = store.taxonomy(taxonomy).await? {
            let taxonomy = Taxonomy::new(&stored.name, stored.categories)?;
            labels.retain(|row| taxonomy.contains(&row.category));
        }
        let foreign = all - labels.len();
        Ok(Self { foreign, ..Self::of(labels) })
    }

    fn rows(&self) -> usize {
        self.pool.len() + self.dev.len() + self.test.len()
    }

    /// How many are learned from.
    pub(super) fn learned(&self) -> usize {
        self.pool.len()
    }

    /// For the gate the newest labels that nobody chose for their answer, or none where they are too few; to calibrate on
    /// those before them, or the newest of all where these are too few.
    fn of(mut labels: Vec<LabelledTransaction>) -> Self {
        let held = (HELD_OUT * labels.len() as f64).round() as usize;
        let in_time = |a: &LabelledTransaction, b: &LabelledTransaction| {
            let (a, b) = (&a.transaction, &b.transaction);
            (a.posted_at, &a.id).cmp(&(b.posted_at, &b.id))
        };
        labels.sort_by(in_time);
        let (mut chosen, mut at_random): (Vec<_>, Vec<_>) = labels.into_iter().partition(|row| !row.at_random);
        let newest = |rows: &mut Vec<LabelledTransaction>, n: usize| rows.split_off(rows.len() - n.min(rows.len()));
        let compared = held.min(at_random.len() / 2);
        let test = newest(&mut at_random, if compared < LEAST_COMPARED { 0 } else { compared });
        let dev =
            if at_random.len() < LEAST_COMPARED { newest(&mut chosen, held) } else { newest(&mut at_random, held) };
        let mut pool = [chosen, at_random].concat();
        pool.sort_by(in_time);
        Self { pool, dev, test, foreign: 0 }
    }

    /// Writes a data set; returns how many rows are in pool, dev and test.
    fn write(&self, dir: &Path, taxonomy: &Taxonomy) -> anyhow::Result<[usize; 3]> {
        fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
        let save = |name: &str, bytes: Vec<u8>| {
            let path = dir.join(name);
            fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))
        };
        save("categories.csv", written::categories(taxonomy)?)?;
        let test = dir.join("test_newest.csv");
        if self.test.is_empty() && test.exists() {
            fs::remove_file(&test).with_context(|| format!("can't remove {}", test.display()))?;
        }
        for (name, rows) in [("pool.csv", &self.pool), ("dev.csv", &self.dev), ("test_newest.csv", &self.test)] {
            fn row(row: &LabelledTransaction) -> Written<'_> {
                Written {
                    transaction: &row.transaction,
                    category: row.category.as_str(),
                    labelled_by: &row.labelled_by,
                }
            }
            if !rows.is_empty() {
                save(name, written::rows(rows.iter().map(row))?)?;
            }
        }
        Ok([self.pool.len(), self.dev.len(), self.test.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_fewer_labels_than_the_champion_learned_from_are_told() {
        assert!(few(195, 12_000).unwrap().contains("learned from 12000 labels, and 195 in the database"));
        assert_eq!(few(6_000, 12_000), None);
        assert_eq!(few(100, 0), None, "there is no champion");
    }
}
