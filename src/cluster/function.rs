//! `categorize(asked, id, account_id, …)`: the batch function that scheduler, executors and a single process share.
//!
//! Its first argument is [`Asked`] as JSON, the others are the fields of a transaction as text, in the order of
//! [`FIELDS`]. A query names it alone, so it must be registered wherever a query is read. It counts as volatile: the
//! optimizer must not write it twice where its answer is used twice.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{Array, AsArray, Float32Builder, StringArray, StringBuilder, StructArray},
        compute::cast,
        datatypes::{DataType, Field, Fields},
    },
    common::ScalarValue,
    error::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl},
    },
};

use super::{
    Error,
    engines::{Answer, Asked, Engines},
};
use crate::domain::{ConfidenceLevel, transaction::FIELDS};

/// Rows of one call of the engine: its numbers for them are in memory at once.
const ROWS: usize = 1_024;

/// What an answer has, in the order of the written columns.
pub(super) const ANSWER: [&str; 6] =
    ["category", "confidence", "confidence_level", "engine", "taxonomy_version", "problem"];

static ANSWER_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let field = |name: &str| {
        let of = if name == "confidence" { DataType::Float32 } else { DataType::Utf8 };
        Field::new(name, of, true)
    };
    ANSWER.into_iter().map(field).collect()
});

/// The function. A process without engines can read and plan queries, and not carry them out.
#[must_use]
pub fn function(engines: Option<Arc<Engines>>) -> Arc<ScalarUDF> {
    let arguments = vec![DataType::Utf8; 1 + FIELDS.len()];
    let signature = Signature::exact(arguments, Volatility::Volatile);
    Arc::new(AsyncScalarUDF::new(Arc::new(Categorize { engines, signature })).into_scalar_udf())
}

#[derive(Debug)]
struct Categorize {
    engines: Option<Arc<Engines>>,
    signature: Signature,
}

impl PartialEq for Categorize {
    fn eq(&self, other: &Self) -> bool {
        match (&self.engines, &other.engines) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (own, others) => own.is_none() && others.is_none(),
        }
    }
}

impl Eq for Categorize {}

impl Hash for Categorize {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Categorize {
    fn name(&self) -> &'static str {
        "categorize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(ANSWER_FIELDS.clone()))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // DataFusion calls a function of this kind through `invoke_async_with_args` alone.
        Err(Error::NoEngines.into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Categorize {
    fn ideal_batch_size(&self) -> Option<usize> {
        Some(ROWS)
    }

    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let engines = self.engines.as_ref().ok_or(Error::NoEngines)?;
        let (asked, fields) = read(&args)?;
        let row = |at: usize| -> BTreeMap<String, String> {
            let given = FIELDS.into_iter().zip(&fields).filter(|(_, texts)| texts.is_valid(at));
            given.map(|(field, texts)| (field.to_owned(), texts.value(at).to_owned())).collect()
        };
        let rows: Vec<_> = (0..args.number_rows).map(row).collect();
        let answers = engines.answer(&asked, &rows).await?;
        Ok(ColumnarValue::Array(Arc::new(written(&answers)?)))
    }
}

/// What is asked, and each field's texts.
fn read(args: &ScalarFunctionArgs) -> Result<(Asked, Vec<StringArray>)> {
    let mut given = args.args.iter();
    let asked = match given.next() {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))) => text.clone(),
        Some(ColumnarValue::Array(texts)) if !texts.is_empty() => {
            cast(texts, &DataType::Utf8)?.as_string::<i32>().value(0).to_owned()
        }
        _ => String::new(),
    };
    let asked: Asked = serde_json::from_str(&asked).map_err(Error::Asked)?;
    let texts = given.map(|field| Ok(field.to_array(args.number_rows)?.as_string::<i32>().clone()));
    Ok((asked, texts.collect::<Result<_>>()?))
}

fn written(answers: &[std::result::Result<Answer, String>]) -> Result<StructArray> {
    let mut confidences = Float32Builder::with_capacity(answers.len());
    let mut texts: [StringBuilder; 5] = std::array::from_fn(|_| StringBuilder::new());
    for answer in answers {
        let row = match answer {
            Ok(Answer { prediction, level }) => {
                confidences.append_value(prediction.confidence);
                let from = &prediction.provenance;
                let level = level.map(ConfidenceLevel::as_str);
                [Some(prediction.category.as_str()), level, Some(&*from.engine), Some(&*from.taxonomy), None]
            }
            Err(problem) => {
                confidences.append_null();
                [None, None, None, None, Some(problem.as_str())]
            }
        };
        for (column, text) in texts.iter_mut().zip(row) {
            column.append_option(text);
        }
    }
    let [category, level, engine, taxonomy, problem] = texts.map(|mut column| Arc::new(column.finish()));
    let columns: Vec<Arc<dyn Array>> = vec![category, Arc::new(confidences.finish()), level, engine, taxonomy, problem];
    Ok(StructArray::try_new(ANSWER_FIELDS.clone(), columns, None)?)
}
