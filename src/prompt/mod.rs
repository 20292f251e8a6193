//! Prompt folders: `prompts/categorize/<version>/`, versioned by their content.
//!
//! A folder holds `system.j2` (what stays the same from request to request), `user.j2` (the transactions),
//! `answer.schema.json` (the form of the answer) and `examples.jsonl` (worked examples). The version that is stored
//! with every prediction is the folder's name and the hash of its files, so a prediction can be traced to the
//! very words behind it.
//!
//! Not where a model is asked ([`llm`](crate::llm)) nor where it is decided what a stage may look at.

mod diff;
mod lint;
mod shown;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context, syntax::SyntaxConfig, value::Serde};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use diff::diff;
pub use lint::{Finding, Gravity, lint};
pub use shown::{Row, Similar};

use crate::domain::{Category, Currency, Direction, OwnWords, Slug, Taxonomy};

/// The files of a folder, in the order of their hash.
const FILES: [&str; 4] = ["system.j2", "user.j2", "answer.schema.json", "examples.jsonl"];

/// One worked example of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Statement text as a bank would show it.
    pub descriptor: String,
    /// How much, in `currency`.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: Currency,
    /// Which way the money went.
    pub direction: Direction,
    /// What it is.
    pub category: Slug,
}

/// A loaded prompt folder.
#[derive(Debug, Clone)]
pub struct PromptSet {
    version: String,
    examples: Vec<Example>,
    schema: serde_json::Value,
    templates: Environment<'static>,
}

/// A rendered prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What stays the same from request to request.
    pub system: String,
    /// The transactions.
    pub user: String,
}

/// Why a prompt folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or unreadable.
    #[error("`{}` can't be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not an example.
    #[error("`{}` line {line} is not an example", path.display())]
    Example {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The answer's schema is no JSON.
    #[error("`{}` is not JSON", path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The schema has no place for the categories.
    #[error("`answer.schema.json` of {version} has no /properties/answers/items/properties/category")]
    NoCategory {
        /// Of which prompt.
        version: String,
    },
    /// A template can't be read or filled in.
    #[error("a template of {version} can't be used")]
    Template {
        /// Of which prompt.
        version: String,
        /// Why.
        #[source]
        source: Box<minijinja::Error>,
    },
}

impl PromptSet {
    /// Reads a folder.
    ///
    /// # Errors
    /// When a file is missing, a line is no [`Example`], or a template can't be read.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
        };
        let [system, user, schema, examples] = FILES.map(read);
        let (system, user, schema, examples) = (system?, user?, schema?, examples?);
        let mut hash = Sha256::new();
        for text in [&system, &user, &schema, &examples] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let version = format!("{name}@{}", hex::encode(&hash.finalize()[..4]));
        let schema = serde_json::from_str(&schema)
            .map_err(|source| Error::Schema { path: dir.join("answer.schema.json"), source })?;
        let examples = read_examples(&dir.join("examples.jsonl"), &examples)?;
        let templates = templates(system, user)
            .map_err(|source| Error::Template { version: version.clone(), source: Box::new(source) })?;
        Ok(Self { version, examples, schema, templates })
    }

    /// Folder name and content hash, such as `few_shot_v1@9f2c11aa`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The worked examples.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The answer's form, its category limited to those that can be assigned.
    ///
    /// # Errors
    /// When the schema has no place for them.
    pub fn schema(&self, taxonomy: &Taxonomy) -> Result<Arc<serde_json::Value>, Error> {
        let mut schema = self.schema.clone();
        let place = schema.pointer_mut("/properties/answers/items/properties/category");
        let Some(serde_json::Value::Object(category)) = place else {
            return Err(Error::NoCategory { version: self.version.clone() });
        };
        let slugs: Vec<&str> = taxonomy.assignable().iter().map(|category| category.slug.as_str()).collect();
        category.insert("enum".to_owned(), slugs.into());
        Ok(Arc::new(schema))
    }

    /// What stays the same from request to request: categories and worked examples, never a transaction.
    ///
    /// # Errors
    /// When the template asks for what there isn't.
    pub fn system(&self, categories: &[Category], examples: &[Example]) -> Result<String, Error> {
        self.filled(
            "system.j2",
            context! { categories => Value::from(Serde(categories)), examples => Value::from(Serde(examples)) },
        )
    }

    /// The transactions.
    ///
    /// # Errors
    /// When the template asks for what there isn't.
    pub fn user(&self, rows: &[Row]) -> Result<String, Error> {
        self.filled("user.j2", context! { transactions => Value::from(Serde(rows)) })
    }

    /// What of its requests is the prompt's own: the lines that are there before any example or transaction.
    ///
    /// # Errors
    /// When a template asks for what there isn't.
    pub fn own_words(&self, categories: &[Category]) -> Result<OwnWords, Error> {
        let (system, user) = (self.system(categories, &[])?, self.user(&[])?);
        Ok(OwnWords::of([system.as_str(), user.as_str()]))
    }

    fn filled(&self, name: &str, with: Value) -> Result<String, Error> {
        let template = self.templates.get_template(name);
        template
            .and_then(|template| template.render(with))
            .map_err(|source| Error::Template { version: self.version.clone(), source: Box::new(source) })
    }
}

fn read_examples(path: &Path, text: &str) -> Result<Vec<Example>, Error> {
    let lines = (1..).zip(text.lines()).filter(|(_, json)| !json.trim().is_empty());
    lines
        .map(|(line, json)| {
            serde_json::from_str(json).map_err(|source| Error::Example { path: path.to_owned(), line, source })
        })
        .collect()
}

/// Strict: a name that is not there is an error. Nothing is escaped but by `tojson`, which leaves no `<`, `>`, `&`
/// or `'` of the data as it is, so that no text can close the marks around it.
fn templates(system: String, user: String) -> Result<Environment<'static>, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| AutoEscape::None);
    templates.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    templates.add_template_owned("system.j2", system)?;
    templates.add_template_owned("user.j2", user)?;
    Ok(templates)
}
