//! What became of the rows, counted over the files that were written.

use datafusion::{
    arrow::{
        array::{Array, AsArray},
        datatypes::Int64Type,
    },
    dataframe::DataFrame,
    error::Result,
    functions_aggregate::expr_fn::count,
    logical_expr::{ident, lit},
    prelude::{ParquetReadOptions, SessionContext},
};
use serde::Serialize;

use super::Error;

/// The most frequent problems that are shown.
const PROBLEMS: usize = 20;

/// What became of the rows.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Files with answers.
    pub files: usize,
    /// Rows in them.
    pub rows: i64,
    /// Rows with a category.
    pub answered: i64,
    /// Rows without one, which have a problem instead.
    pub refused: i64,
    /// Who answered, most rows first.
    pub engines: Vec<Count>,
    /// Why rows were refused, most frequent first.
    pub problems: Vec<Count>,
}

/// How many rows have something.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What.
    pub what: String,
    /// How many.
    pub rows: i64,
}

impl Summary {
    /// Counts over files, in this process.
    ///
    /// # Errors
    /// When one can't be read.
    pub async fn of(session: &SessionContext, files: Vec<String>) -> std::result::Result<Self, Error> {
        let failed = |source| Error::Count(Box::new(source));
        let number = files.len();
        let table = session.read_parquet(files, ParquetReadOptions::default()).await.map_err(failed)?;
        let counts = vec![count(lit(1)), count(ident("category"))];
        let totals = table.clone().aggregate(vec![], counts).map_err(failed)?.collect().await.map_err(failed)?;
        let total = |column: usize| {
            let of = |batch: &datafusion::arrow::array::RecordBatch| {
                batch.column(column).as_primitive::<Int64Type>().iter().flatten().sum::<i64>()
            };
            totals.iter().map(of).sum::<i64>()
        };
        let (rows, answered) = (total(0), total(1));
        let engines = counted(table.clone(), "engine").await.map_err(failed)?;
        let problems = counted(table, "problem").await.map_err(failed)?;
        Ok(Self { files: number, rows, answered, refused: rows - answered, engines, problems })
    }
}

async fn counted(table: DataFrame, column: &str) -> Result<Vec<Count>> {
    let counts = table
        .filter(ident(column).is_not_null())?
        .aggregate(vec![ident(column)], vec![count(lit(1)).alias("rows")])?
        .sort(vec![ident("rows").sort(false, true), ident(column).sort(true, true)])?
        .limit(0, Some(PROBLEMS))?
        .collect()
        .await?;
    let mut found = Vec::new();
    for batch in counts {
        let texts = datafusion::arrow::compute::cast(batch.column(0), &datafusion::arrow::datatypes::DataType::Utf8)?;
        let rows = batch.column(1).as_primitive::<Int64Type>();
        let texts = texts.as_string::<i32>();
        found.extend((0..texts.len()).map(|at| Count { what: texts.value(at).to_owned(), rows: rows.value(at) }));
    }
    Ok(found)
}
