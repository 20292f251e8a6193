//! What `txcat data check` writes: rows that pass, rows that are kept out, and what was computed.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;

use crate::curate::{LabelledSet, Outcome, confident::Prune, manifest, suspects::Opinion};

/// Writes `pass.csv` and `quarantine.csv` in the pool's own columns, `flagged.csv`, `labels.txt` and the manifest.
pub(super) fn write(dir: &Path, set: &LabelledSet, outcome: &Outcome) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let writer = |name: &str| {
        let path = dir.join(name);
        // A row that could not be read may have another number of fields.
        csv::WriterBuilder::new()
            .flexible(true)
            .from_path(&path)
            .with_context(|| format!("can't write {}", path.display()))
    };
    let (mut pass, mut ids) = (writer("pass.csv")?, String::new());
    pass.write_record(&set.header)?;
    for place in outcome.kept(set) {
        pass.write_record(&set.examples[place].record)?;
        ids.push_str(set.examples[place].transaction.id.as_str());
        ids.push('\n');
    }
    pass.flush()?;
    let mut quarantine = writer("quarantine.csv")?;
    let with = |record: &csv::StringRecord, why: &str| {
        let mut record = record.clone();
        record.push_field(why);
        record
    };
    quarantine.write_record(&with(&set.header, "why"))?;
    for (place, why) in &outcome.quarantine {
        quarantine.write_record(&with(&set.examples[*place].record, why))?;
    }
    for refused in &set.refused {
        quarantine.write_record(&with(&refused.record, &refused.says))?;
    }
    quarantine.flush()?;
    let mut flagged = writer("flagged.csv")?;
    flagged.write_record(["check", "level", "line", "id", "category", "says", "quarantined"])?;
    for check in &outcome.checks {
        for flag in &check.flags {
            flagged.write_record([
                &check.name,
                check.level.as_str(),
                &flag.line.map_or_else(String::new, |line| line.to_string()),
                &flag.id,
                flag.category.as_deref().unwrap_or_default(),
                &flag.says,
                &flag.quarantined.to_string(),
            ])?;
        }
    }
    flagged.flush()?;
    for (name, text) in [("labels.txt", ids), (manifest::FILE, serde_json::to_string_pretty(&outcome.manifest)?)] {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// One row for each label: its class, what is said of it, and every class's out-of-fold probability.
pub(super) fn probabilities(
    path: &Path,
    set: &LabelledSet,
    opinion: &Opinion,
    flipped: &BTreeSet<usize>,
) -> anyhow::Result<()> {
    let mut file = csv::Writer::from_path(path).with_context(|| format!("can't write {}", path.display()))?;
    let mut header: Vec<String> =
        ["id", "label", "flipped", "self_confidence", "normalized_margin"].map(str::to_owned).to_vec();
    header.extend(Prune::ALL.map(|prune| prune.as_str().to_owned()));
    header.extend((0..set.classes()).map(|class| format!("p_{}", set.slug(class))));
    file.write_record(&header)?;
    for (place, example) in set.examples.iter().enumerate() {
        let mut record = vec![
            example.transaction.id.to_string(),
            example.class.to_string(),
            u8::from(flipped.contains(&place)).to_string(),
            opinion.confident.self_confidence[place].to_string(),
            opinion.confident.margin[place].to_string(),
        ];
        record.extend(Prune::ALL.map(|prune| u8::from(opinion.confident.suspects(place, prune)).to_string()));
        record.extend(opinion.probabilities[place].iter().map(f32::to_string));
        file.write_record(&record)?;
    }
    file.flush()?;
    Ok(())
}
