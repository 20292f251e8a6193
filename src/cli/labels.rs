//! Which labels of a pool a command may look at: said in one way by all that learn or measure.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use crate::{domain::TransactionId, evaluate::labels::Choice};

/// Which labels of the pool may be looked at.
#[derive(Debug, Clone, clap::Args)]
pub struct LabelChoice {
    /// How many labels of the pool may be looked at.
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    pub label_budget: usize,

    /// Look at the labels of these rows instead: one id a line, at most --label-budget.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
}

impl Default for LabelChoice {
    fn default() -> Self {
        Self { label_budget: 12_000, labels: None }
    }
}

impl LabelChoice {
    /// The listed rows, or a choice under the budget whose remainder is drawn from `seed`.
    ///
    /// # Errors
    /// When the list can't be read, has what is no id, or names more rows than the budget.
    pub fn choice(&self, seed: u64) -> anyhow::Result<Choice> {
        let Some(path) = &self.labels else { return Ok(Choice::Budget { budget: self.label_budget, seed }) };
        let ids = ids(path)?;
        let (named, budget) = (ids.len(), self.label_budget);
        ensure!(named <= budget, "{} names {named} rows, and the budget is {budget}", path.display());
        Ok(Choice::Listed(ids))
    }
}

/// The ids of a list, one a line.
///
/// # Errors
/// When it can't be read, or has what is no id.
pub fn ids(path: &Path) -> anyhow::Result<HashSet<TransactionId>> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    // Some editors begin a file with a mark of its byte order.
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| line.parse::<TransactionId>().with_context(|| format!("{}: `{line}`", path.display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_begin_with_a_mark_of_its_byte_order_and_end_its_lines_as_windows_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("labels.txt");
        fs::write(&file, "\u{feff}t1\r\nt2\r\n").unwrap();
        let wanted: HashSet<TransactionId> = ["t1", "t2"].map(|id| id.parse().unwrap()).into();
        assert_eq!(ids(&file).unwrap(), wanted);
    }
}
