//! The closed set of categories that an answer comes from, with a version.
//!
//! A deployment serves one taxonomy at a time; an adapter is bound to the version it was trained
//! on. Read from a TOML file, or from a data set's `categories.csv`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    io::Read,
    ops::RangeInclusive,
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Direction, transaction::Mcc};

/// Categories that answers may name, at most.
pub const MOST_ASSIGNABLE: usize = 4_096;

/// A category's name in code, SQL and JSON: 1–64 of `a-z`, `0-9` and `_`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(Arc<str>);

/// Text that is not a slug.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be 1–64 of a–z, 0–9 and _, starting with a letter")]
pub struct InvalidSlug;

impl Slug {
    /// What a transaction is while nobody could say more: in no taxonomy, so that no engine can answer it and no
    /// person choose it.
    #[must_use]
    pub fn uncategorized() -> Self {
        Self("uncategorized".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let well_formed = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidSlug) }
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidSlug;

    fn try_from(text: String) -> Result<Self, InvalidSlug> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.as_str().to_owned()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One category of a taxonomy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Its name in code, SQL and JSON.
    pub slug: Slug,
    /// The primary category it details; absent on a primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Slug>,
    /// Its name for people.
    pub name: String,
    /// What belongs in it, in a sentence.
    pub description: String,
    /// The only direction it makes sense in, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// ISO 18245 merchant category codes (or `from-to` ranges) that mean it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcc: Vec<String>,
    /// Plaid personal finance category v2 identifier, for interoperability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pfc: Option<String>,
}

/// A version of the closed set of categories. Predictions come from [`Taxonomy::assignable`].
#[derive(Debug, Clone)]
pub struct Taxonomy {
    name: String,
    version: String,
    categories: Vec<Category>,
    assignable: Vec<Category>,
    index: HashMap<Slug, usize>,
    by_mcc: BTreeMap<u16, usize>,
}

impl Taxonomy {
    /// The consumer taxonomy that ships with txcat.
    ///
    /// # Errors
    /// Never in a build whose tests pass: a test reads the file.
    pub fn consumer() -> Result<Self, Error> {
        Self::from_toml(include_str!("../../eval/taxonomies/consumer.toml"))
    }

    /// Reads a taxonomy file: `name` and a list of `[[category]]`.
    ///
    /// # Errors
    /// When it is not of that shape, or breaks a rule of [`Error`].
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let File { name, category } = toml::from_str(text)?;
        Self::new(name.as_str(), category)
    }

    /// Reads a data set's `categories.csv` (columns `category` or `slug`, and `description`): primaries without details.
    ///
    /// # Errors
    /// When it is not of that shape, or breaks a rule of [`Error`].
    pub fn from_categories_csv(file: impl Read, name: &str) -> Result<Self, Error> {
        let name: Slug = name.parse().map_err(|_| Error::Name { name: name.to_owned() })?;
        let rows = csv::Reader::from_reader(file).into_deserialize::<Row>().collect::<Result<Vec<_>, _>>()?;
        Self::new(name.as_str(), rows.into_iter().map(Category::from).collect())
    }

    /// Of these categories, in this order.
    ///
    /// # Errors
    /// When they break a rule of [`Error`].
    pub fn new(name: &str, categories: Vec<Category>) -> Result<Self, Error> {
        let mut seen = HashMap::new();
        for category in &categories {
            if seen.insert(&category.slug, category).is_some() {
                return Err(Error::Duplicate { slug: category.slug.clone() });
            }
        }
        let mut parents = HashSet::new();
        for category in &categories {
            let Some(parent) = &category.parent else { continue };
            if seen.get(parent).is_none_or(|named| named.parent.is_some()) {
                return Err(Error::Parent { slug: category.slug.clone(), parent: parent.clone() });
            }
            parents.insert(parent.clone());
        }
        for category in &categories {
            check(category, parents.contains(&category.slug))?;
        }
        let assignable: Vec<_> = categories.iter().filter(|c| !parents.contains(&c.slug)).cloned().collect();
        if assignable.len() < 2 {
            return Err(Error::TooFew);
        }
        if assignable.len() > MOST_ASSIGNABLE {
            return Err(Error::TooMany { found: assignable.len() });
        }
        Ok(Self {
            name: name.to_owned(),
            version: format!("{name}@{}", content_hash(&categories)),
            index: assignable.iter().enumerate().map(|(index, c)| (c.slug.clone(), index)).collect(),
            by_mcc: claim_codes(&assignable)?,
            assignable,
            categories,
        })
    }

    /// Its name, such as `consumer`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and the first 8 hexadecimal digits of its content's SHA-256, such as `consumer@1f3a9c02`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All of them, primaries included, in the file's order.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Those that an answer may name: details, and primaries without details. The order is the file's,
    /// and is what an adapter numbers its classes by.
    #[must_use]
    pub fn assignable(&self) -> &[Category] {
        &self.assignable
    }

    /// Where a category stands in [`Taxonomy::assignable`].
    #[must_use]
    pub fn index_of(&self, slug: &Slug) -> Option<usize> {
        self.index.get(slug).copied()
    }

    /// Whether an answer may name it.
    #[must_use]
    pub fn contains(&self, slug: &Slug) -> bool {
        self.index.contains_key(slug)
    }

    /// The category of that name, primaries included.
    #[must_use]
    pub fn get(&self, slug: &Slug) -> Option<&Category> {
        self.index_of(slug)
            .map(|index| &self.assignable[index])
            .or_else(|| self.categories.iter().find(|category| category.slug == *slug))
    }

    /// For each of [`Taxonomy::assignable`] a number that it has in common with the other details of its primary.
    #[must_use]
    pub fn primaries(&self) -> Vec<usize> {
        let place = |slug: &Slug| self.categories.iter().position(|category| category.slug == *slug);
        self.assignable
            .iter()
            .filter_map(|category| place(category.parent.as_ref().unwrap_or(&category.slug)))
            .collect()
    }

    /// What a merchant category code on its own means, where a category claims it.
    #[must_use]
    pub fn by_mcc(&self, mcc: &Mcc) -> Option<&Category> {
        let code = mcc.as_str().parse().ok()?;
        self.by_mcc.get(&code).map(|&index| &self.assignable[index])
    }

    /// How many merchant category codes a category claims.
    #[must_use]
    pub fn mcc_count(&self) -> usize {
        self.by_mcc.len()
    }
}

/// A taxonomy file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Slug,
    category: Vec<Category>,
}

/// A line of `categories.csv`.
#[derive(Deserialize)]
struct Row {
    #[serde(alias = "category")]
    slug: Slug,
    description: String,
}

impl From<Row> for Category {
    fn from(Row { slug, description }: Row) -> Self {
        let mut name = slug.as_str().replace('_', " ");
        name[..1].make_ascii_uppercase();
        Self { slug, parent: None, name, description, direction: None, mcc: Vec::new(), pfc: None }
    }
}

fn check(category: &Category, has_details: bool) -> Result<(), Error> {
    let slug = || category.slug.clone();
    for (field, text) in [("name", &category.name), ("description", &category.description)] {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(Error::Text { slug: slug(), field });
        }
    }
    if has_details && !category.mcc.is_empty() {
        return Err(Error::Details { slug: slug() });
    }
    match &category.pfc {
        Some(pfc) if pfc.is_empty() || !pfc.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
            Err(Error::Pfc { slug: slug(), pfc: pfc.clone() })
        }
        _ => Ok(()),
    }
}

/// `4829` or `3000-3350`, both ends included.
fn codes(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |text: &str| text.parse::<Mcc>().ok()?.as_str().parse::<u16>().ok();
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = code(from)?..=code(to)?;
    (!range.is_empty()).then_some(range)
}

fn claim_codes(assignable: &[Category]) -> Result<BTreeMap<u16, usize>, Error> {
    let mut taken = BTreeMap::new();
    for (index, category) in assignable.iter().enumerate() {
        for mcc in &category.mcc {
            let refused = || Error::Mcc { slug: category.slug.clone(), mcc: mcc.clone() };
            for code in codes(mcc).ok_or_else(refused)? {
                if taken.insert(code, index).is_some() {
                    return Err(refused());
                }
            }
        }
    }
    Ok(taken)
}

/// Over the fields with their lengths, so that layout and comments of the file don't count.
fn content_hash(categories: &[Category]) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    for category in categories {
        field(category.slug.as_str());
        field(category.parent.as_ref().map_or("", Slug::as_str));
        field(&category.name);
        field(&category.description);
        field(category.direction.map_or("", Direction::as_str));
        field(&category.mcc.join(","));
        field(category.pfc.as_deref().unwrap_or(""));
    }
    hex::encode(&hash.finalize()[..4])
}

/// Why a set of categories is no taxonomy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not TOML of the documented shape.
    #[error("the taxonomy file can't be read")]
    Toml(#[from] toml::de::Error),
    /// Not a `categories.csv` of the documented shape.
    #[error("categories.csv can't be read")]
    Csv(#[from] csv::Error),
    /// No category at all.
    #[error("a taxonomy needs at least two assignable categories")]
    TooFew,
    /// More than an adapter has room for.
    #[error("a taxonomy may have {MOST_ASSIGNABLE} assignable categories, and this has {found}")]
    TooMany {
        /// How many it has.
        found: usize,
    },
    /// A slug stands twice.
    #[error("category `{slug}` stands twice")]
    Duplicate {
        /// The slug.
        slug: Slug,
    },
    /// A parent that does not exist, or is itself a detail.
    #[error("category `{slug}` names the parent `{parent}`, which is no primary category")]
    Parent {
        /// The child.
        slug: Slug,
        /// What it names.
        parent: Slug,
    },
    /// A merchant category code that is not four digits, or claimed by two categories.
    #[error("merchant category code `{mcc}` of `{slug}` is malformed or already taken")]
    Mcc {
        /// The category.
        slug: Slug,
        /// The code or range.
        mcc: String,
    },
    /// A `name` that is no slug.
    #[error("the taxonomy's name `{name}` must be 1–64 of a–z, 0–9 and _, starting with a letter")]
    Name {
        /// The name.
        name: String,
    },
    /// A name or description that is empty or has control characters.
    #[error("the {field} of `{slug}` is empty or has control characters")]
    Text {
        /// The category.
        slug: Slug,
        /// Which field.
        field: &'static str,
    },
    /// Codes on a category that is never an answer.
    #[error("`{slug}` has details of its own: give its merchant category codes to one of them")]
    Details {
        /// The primary.
        slug: Slug,
    },
    /// Not the form of a Plaid personal finance category.
    #[error("`{pfc}` of `{slug}` is no personal finance category: capitals and _ only")]
    Pfc {
        /// The category.
        slug: Slug,
        /// The identifier.
        pfc: String,
    },
}
