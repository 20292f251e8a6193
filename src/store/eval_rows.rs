//! Rows of one run, counted as a confusion matrix, and of two runs side by side.

use serde::Serialize;

use super::{Error, Store, count};

/// Rows of one category that were answered alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfusionCell {
    /// What they are.
    pub expected: String,
    /// What was said.
    pub predicted: String,
    /// How many.
    pub rows: u32,
}

/// A row in two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowPair {
    /// Which.
    pub id: String,
    /// Its merchant.
    pub key: Option<String>,
    /// Its category.
    pub expected: String,
    /// What the first said.
    pub ours: String,
    /// How sure the first was.
    pub ours_confidence: f32,
    /// What the second said.
    pub theirs: String,
    /// How sure the second was.
    pub theirs_confidence: f32,
}

/// Which rows of two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsOf {
    /// All that both have.
    All,
    /// Those that were answered differently.
    #[default]
    Different,
    /// Those that the first alone has right.
    OnlyOurs,
    /// Those that the second alone has right.
    OnlyTheirs,
    /// Those that both have wrong.
    BothWrong,
}

impl RowsOf {
    /// All of them, with the words for people.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Different, "answered differently"),
        (Self::OnlyOurs, "only the first has right"),
        (Self::OnlyTheirs, "only the second has right"),
        (Self::BothWrong, "both have wrong"),
        (Self::All, "all rows"),
    ];

    /// The code used in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Different => "different",
            Self::OnlyOurs => "only_ours",
            Self::OnlyTheirs => "only_theirs",
            Self::BothWrong => "both_wrong",
        }
    }
}

impl Store {
    /// A run's whole confusion matrix, but for its empty cells.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn confusion(&self, run: i64) -> Result<Vec<ConfusionCell>, Error> {
        let rows = sqlx::query!(
            r#"select
                expected,
                predicted,
                count(*) as "rows!"
            from eval_items
            where run_id = $1
            group by
                expected,
                predicted
            order by
                expected,
                predicted"#,
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let rows = count(row.rows, "eval_items")?;
                Ok(ConfusionCell { expected: row.expected, predicted: row.predicted, rows })
            })
            .collect()
    }

    /// Rows that both runs have, side by side, by identifier, at most `limit`, after one of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn row_pairs(
        &self,
        ours: i64,
        theirs: i64,
        which: RowsOf,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RowPair>, Error> {
        let pairs = sqlx::query_as!(
            RowPair,
            r#"select
                ours.item_id as id,
                coalesce(ours.descriptor_key, theirs.descriptor_key) as key,
                ours.expected,
                ours.predicted as ours,
                ours.confidence as ours_confidence,
                theirs.predicted as theirs,
                theirs.confidence as theirs_confidence
            from eval_items as ours
            join eval_items as theirs on theirs.item_id = ours.item_id
            where ours.run_id = $1
            and theirs.run_id = $2
            and ($4::text is null or ours.item_id > $4)
            and case $3
                when 'different' then ours.predicted <> theirs.predicted
                when 'only_ours' then ours.predicted = ours.expected and theirs.predicted <> theirs.expected
                when 'only_theirs' then ours.predicted <> ours.expected and theirs.predicted = theirs.expected
                when 'both_wrong' then ours.predicted <> ours.expected and theirs.predicted <> theirs.expected
                else true
            end
            order by ours.item_id
            limit $5"#,
            ours,
            theirs,
            which.as_str(),
            after,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(pairs)
    }
}
