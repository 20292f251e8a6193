//! What a run's rows add up to: every figure of the tracker that is a count, a sum or a mean.
//!
//! The arithmetic is that of `evaluate::metrics`; a test holds the two together. A million rows take seconds.

use rust_decimal::Decimal;

use super::{Error, Store, count};

/// Figures over all rows of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalTotals {
    /// Rows.
    pub rows: u32,
    /// Right ones.
    pub correct: u32,
    /// Those with an answer.
    pub answered: u32,
    /// Those where more than the first choice was told.
    pub told: u32,
    /// Those of them whose truth is among the first three choices.
    pub among_three: u32,
    /// Mean of `-ln` of the probability that the truth was given, at least the floor.
    pub log_loss: Option<f64>,
    /// Mean squared distance between confidence and whether the row is right.
    pub answer_brier: Option<f64>,
    /// Milliseconds within which half of the rows were answered.
    pub latency_p50_ms: Option<f64>,
    /// Milliseconds within which 95 % were.
    pub latency_p95_ms: Option<f64>,
    /// Tokens of all rows.
    pub tokens: Option<i64>,
    /// Cost of all rows.
    pub cost: Option<Decimal>,
}

/// Rows of one cluster and category that got one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalCell {
    /// Which cluster: a merchant, or several where there are many.
    pub cluster: i64,
    /// Their category.
    pub expected: String,
    /// The answer.
    pub predicted: String,
    /// How many.
    pub rows: u32,
}

/// Rows of neighbouring confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalBin {
    /// How many.
    pub rows: u32,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of them that is right.
    pub accuracy: f64,
    /// Share of all rows that are as sure as the least sure here, or surer.
    pub coverage: f64,
    /// Share of those that is wrong.
    pub risk: f64,
    /// Sum, over the rows here, of the share of wrong rows among each and all surer ones.
    pub risks: f64,
}

/// Rows that have something in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalSlice {
    /// By what rows are told apart, such as `direction`.
    pub slice: String,
    /// What these have in common, such as `debit`.
    pub value: String,
    /// How many.
    pub rows: u32,
    /// How many of them right.
    pub correct: u32,
}

impl Store {
    /// Figures over all rows of a run. `floor` is the least probability that a truth counts as given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn eval_totals(&self, run: i64, floor: f64) -> Result<EvalTotals, Error> {
        let row = sqlx::query!(
            r#"select
                count(*) as "rows!",
                count(*) filter (where gold_rank = 1) as "correct!",
                count(*) filter (where error is null) as "answered!",
                count(gold_probability) as "told!",
                count(gold_probability) filter (where gold_rank <= 3) as "among_three!",
                avg(-ln(greatest(gold_probability::double precision, $2))) filter (where gold_probability is not null) as log_loss,
                avg(
                    (confidence::double precision - (gold_rank is not distinct from 1)::integer)
                    * (confidence::double precision - (gold_rank is not distinct from 1)::integer)
                ) as answer_brier,
                percentile_cont(0.5) within group (order by latency_ms) as latency_p50_ms,
                percentile_cont(0.95) within group (order by latency_ms) as latency_p95_ms,
                sum(tokens) as tokens,
                sum(cost) as cost
            from eval_items
            where run_id = $1"#,
            run,
            floor,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(EvalTotals {
            rows: count(row.rows, "eval_items")?,
            correct: count(row.correct, "eval_items")?,
            answered: count(row.answered, "eval_items")?,
            told: count(row.told, "eval_items")?,
            among_three: count(row.among_three, "eval_items")?,
            log_loss: row.log_loss,
            answer_brier: row.answer_brier,
            latency_p50_ms: row.latency_p50_ms,
            latency_p95_ms: row.latency_p95_ms,
            tokens: row.tokens,
            cost: row.cost,
        })
    }

    /// How many rows of each category got which answer, cluster by cluster. A cluster is a merchant; where there are more
    /// than `clusters`, every so-maniest of them shares one. A row of no known merchant stands for itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn eval_cells(&self, run: i64, clusters: u32) -> Result<Vec<EvalCell>, Error> {
        let rows = sqlx::query!(
            r#"with cells as (
                select
                    coalesce(descriptor_key, item_id) as merchant,
                    expected,
                    predicted,
                    count(*) as rows
                from eval_items
                where run_id = $1
                group by
                    merchant,
                    expected,
                    predicted
            ), clustered as (
                select
                    dense_rank() over (order by merchant) % $2 as cluster,
                    expected,
                    predicted,
                    rows
                from cells
            )
            select
                cluster as "cluster!",
                expected,
                predicted,
                sum(rows)::bigint as "rows!"
            from clustered
            group by
                cluster,
                expected,
                predicted
            order by
                cluster,
                expected,
                predicted"#,
            run,
            i64::from(clusters),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let rows = count(row.rows, "eval_items")?;
                Ok(EvalCell { cluster: row.cluster, expected: row.expected, predicted: row.predicted, rows })
            })
            .collect()
    }

    /// Rows ranked by confidence, in `bins` of equal size, the least sure first. Rows of one confidence have no order among
    /// them: each counts as right by the share of them that is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn eval_bins(&self, run: i64, bins: u32) -> Result<Vec<EvalBin>, Error> {
        let rows = sqlx::query!(
            r#"with tied as (
                select
                    -confidence as doubt,
                    avg((gold_rank is not distinct from 1)::integer::double precision)
                        over (partition by -confidence) as correct
                from eval_items
                where run_id = $1
            ), ranked as (
                select
                    doubt,
                    correct,
                    row_number() over surest_first as place,
                    sum(1 - correct) over surest_first as wrong,
                    (select count(*) from eval_items where run_id = $1) as rows
                from tied
                window surest_first as (order by doubt rows unbounded preceding)
            ), binned as (
                select
                    -doubt::double precision as confidence,
                    correct,
                    place,
                    rows,
                    wrong / place as risk,
                    ($2 * (rows - place + 1) - 1) / rows as bin
                from ranked
            )
            select
                count(*) as "rows!",
                avg(confidence) as "confidence!",
                avg(correct) as "accuracy!",
                max(place) / max(rows)::double precision as "coverage!",
                max(risk) filter (where place = rows or ($2 * (rows - place) - 1) / rows < bin) as "risk!",
                sum(risk) as "risks!"
            from binned
            group by bin
            order by bin"#,
            run,
            i64::from(bins),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(EvalBin {
                    rows: count(row.rows, "eval_items")?,
                    confidence: row.confidence,
                    accuracy: row.accuracy,
                    coverage: row.coverage,
                    risk: row.risk,
                    risks: row.risks,
                })
            })
            .collect()
    }

    /// Rows by what they have in common: known or unknown key, head or tail merchant, direction, amount in the row's own
    /// currency, country, month, age of the account. What a row does not tell puts it into no slice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn eval_slices(&self, run: i64) -> Result<Vec<EvalSlice>, Error> {
        let rows = sqlx::query!(
            r#"select
                slice as "slice!",
                value as "value!",
                rows as "rows!",
                correct as "correct!"
            from (
                select
                    case grouping(known, head, direction, amount, country, month, age)
                        when 63 then 'key'
                        when 95 then 'merchant'
                        when 111 then 'direction'
                        when 119 then 'amount'
                        when 123 then 'country'
                        when 125 then 'month'
                        when 126 then 'account_age'
                    end as slice,
                    coalesce(
                        case when known then 'known' when not known then 'unknown' end,
                        case when head then 'head' when not head then 'tail' end,
                        direction,
                        (array['under 10', '10 to 100', '100 to 1,000', '1,000 and more'])[amount + 1],
                        country,
                        to_char(month, 'YYYY-MM'),
                        (array['under 30 days', '30 to 90 days', '90 days to a year', 'a year and more'])[age + 1]
                    ) as value,
                    coalesce(amount, age, 0) as place,
                    sum(rows)::bigint as rows,
                    sum(correct)::bigint as correct
                from (
                    select
                        known_key as known,
                        head_merchant as head,
                        direction,
                        width_bucket(amount, array[10, 100, 1000]::numeric[]) as amount,
                        country,
                        date_trunc('month', posted_at at time zone 'UTC') as month,
                        width_bucket(account_age_days, array[30, 90, 365]) as age,
                        count(*) as rows,
                        count(*) filter (where gold_rank = 1) as correct
                    from eval_items
                    where run_id = $1
                    group by
                        1,
                        2,
                        3,
                        4,
                        5,
                        6,
                        7
                ) as items
                group by grouping sets ((known), (head), (direction), (amount), (country), (month), (age))
            ) as sliced
            where value is not null
            order by
                slice,
                place,
                value"#,
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let (rows, correct) = (count(row.rows, "eval_items")?, count(row.correct, "eval_items")?);
                Ok(EvalSlice { slice: row.slice, value: row.value, rows, correct })
            })
            .collect()
    }
}
