//! A file's columns as arguments of `categorize`: every field as the text that an import would have read.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::ScalarValue,
    dataframe::DataFrame,
    error::Result,
    functions::core::expr_fn::get_field,
    logical_expr::{Expr, ScalarUDF, ident, lit, try_cast},
};

use super::function::ANSWER;
use crate::{domain::transaction::FIELDS, evaluate::columns::Mapping};

/// The columns that a table lacks for what `mapping` says.
pub(super) fn missing(table: &DataFrame, mapping: &Mapping) -> Vec<String> {
    mapping.missing(|column| has(table, column))
}

/// A table's rows with their answers: the id as it stands there, then [`ANSWER`].
pub(super) fn answered(
    table: DataFrame,
    mapping: &Mapping,
    asked: &str,
    categorize: &Arc<ScalarUDF>,
) -> Result<DataFrame> {
    let field = |name: &'static str| match mapping.column(name, |column| has(&table, column)) {
        Some(column) => text(&table, column),
        None => lit(ScalarValue::Utf8(None)),
    };
    let arguments = std::iter::once(lit(asked)).chain(FIELDS.map(field)).collect();
    let rows = vec![field("id").alias("id"), categorize.call(arguments).alias("answer")];
    let part = |name: &str| get_field(ident("answer"), name).alias(name);
    let columns: Vec<Expr> = std::iter::once(ident("id")).chain(ANSWER.map(part)).collect();
    table.select(rows)?.select(columns)
}

fn has(table: &DataFrame, column: &str) -> bool {
    table.schema().fields().iter().any(|field| field.name() == column)
}

/// A column as text. A value that has none (bytes that are no UTF-8, a time out of all time) counts as missing, and its
/// row as a problem.
fn text(table: &DataFrame, column: &str) -> Expr {
    let of = table.schema().fields().iter().find(|field| field.name() == column).map(|field| field.data_type());
    let value = match of {
        // A time without a zone is one in UTC, as a date is midnight there.
        Some(DataType::Timestamp(..)) => {
            try_cast(ident(column), DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))
        }
        _ => ident(column),
    };
    try_cast(value, DataType::Utf8)
}
