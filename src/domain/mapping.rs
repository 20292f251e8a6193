//! What becomes of the categories of one taxonomy in another: a new name, one with others, or a choice among several.
//!
//! A mapping is read from a file or a request and checked as a whole, so that every mistake in it is told at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Slug, Taxonomy};

/// What becomes of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Becomes {
    /// This one; several may become the same.
    One(Slug),
    /// One of these, as a stage decides row by row.
    OneOf(Vec<Slug>),
}

impl Becomes {
    /// All that it may become.
    #[must_use]
    pub fn targets(&self) -> &[Slug] {
        match self {
            Self::One(target) => std::slice::from_ref(target),
            Self::OneOf(targets) => targets,
        }
    }
}

/// A mapping as written down. A category that both taxonomies have needs no line where it stays what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxonomyMapping {
    /// The version of the old taxonomy, such as `consumer@1f3a9c02`.
    pub from: String,
    /// What becomes of its categories.
    pub map: BTreeMap<Slug, Becomes>,
}

/// A mistake in a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MappingMistake {
    /// The old taxonomy has no such category that a row could be of.
    UnknownOld {
        /// Which.
        category: Slug,
    },
    /// The new taxonomy has no such category that a row could be of.
    UnknownNew {
        /// Of which line.
        category: Slug,
        /// Which.
        target: Slug,
    },
    /// A split into fewer than two different categories.
    NoSplit {
        /// Of which line.
        category: Slug,
    },
    /// A split among categories that a stage can't tell apart: they are described in the same words.
    SameDescription {
        /// Of which line.
        category: Slug,
        /// One.
        target: Slug,
        /// The other.
        other: Slug,
    },
    /// Rows or rules have this category, and no line says what becomes of it.
    Unmapped {
        /// Which.
        category: Slug,
        /// How many rows and rules.
        rows: u64,
    },
}

impl fmt::Display for MappingMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOld { category } => write!(f, "`{category}` is no category of the old taxonomy"),
            Self::UnknownNew { category, target } => {
                write!(f, "`{category}` shall become `{target}`, which is no category of the new taxonomy")
            }
            Self::NoSplit { category } => write!(f, "`{category}` is split into fewer than two categories"),
            Self::SameDescription { category, target, other } => {
                write!(f, "`{category}` is split into `{target}` and `{other}`, which are described in the same words")
            }
            Self::Unmapped { category, rows } => {
                write!(f, "`{category}` has {rows} rows or rules, and nothing says what becomes of it")
            }
        }
    }
}

impl TaxonomyMapping {
    /// What becomes of every category of the old taxonomy that is in use or has a line. `old` are the categories that a row
    /// could be of, `used` those in use, with how many rows.
    ///
    /// # Errors
    /// With every mistake there is.
    pub fn checked(
        &self,
        old: &BTreeSet<Slug>,
        new: &Taxonomy,
        used: &BTreeMap<Slug, u64>,
    ) -> Result<BTreeMap<Slug, Becomes>, Vec<MappingMistake>> {
        let mut mistakes = Vec::new();
        for (category, becomes) in &self.map {
            let named = || category.clone();
            if !old.contains(category) {
                mistakes.push(MappingMistake::UnknownOld { category: named() });
            }
            for target in becomes.targets().iter().filter(|target| !new.contains(target)) {
                mistakes.push(MappingMistake::UnknownNew { category: named(), target: target.clone() });
            }
            let Becomes::OneOf(targets) = becomes else { continue };
            if targets.iter().collect::<BTreeSet<_>>().len() < targets.len().max(2) {
                mistakes.push(MappingMistake::NoSplit { category: named() });
                continue;
            }
            let described = |slug: &Slug| new.get(slug).map(|category| category.description.trim().to_lowercase());
            for (at, target) in targets.iter().enumerate() {
                let like = |other: &&Slug| described(target).is_some() && described(target) == described(other);
                if let Some(other) = targets[at + 1..].iter().find(like) {
                    let (target, other) = (target.clone(), other.clone());
                    mistakes.push(MappingMistake::SameDescription { category: named(), target, other });
                }
            }
        }
        let mut whole = self.map.clone();
        for category in old.iter().filter(|category| !self.map.contains_key(*category)) {
            if new.contains(category) {
                whole.insert(category.clone(), Becomes::One(category.clone()));
            } else if let Some(&rows) = used.get(category) {
                mistakes.push(MappingMistake::Unmapped { category: category.clone(), rows });
            }
        }
        if mistakes.is_empty() { Ok(whole) } else { Err(mistakes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(text: &str) -> Slug {
        text.parse().unwrap()
    }

    fn new() -> Taxonomy {
        Taxonomy::from_categories_csv(
            "category,description\nfood,\"Eating, out or in.\"\nfun,Games and films.\nplay,games and films.\nrent,A home.\n"
                .as_bytes(),
            "next",
        )
        .unwrap()
    }

    fn checked(map: &str) -> Result<BTreeMap<Slug, Becomes>, Vec<String>> {
        let mapping: TaxonomyMapping = toml::from_str(&format!("from = \"old@1\"\n[map]\n{map}")).unwrap();
        let old = ["cafes", "bars", "games", "rent"].map(slug).into();
        let used = BTreeMap::from([(slug("cafes"), 3), (slug("games"), 1), (slug("rent"), 2)]);
        mapping.checked(&old, &new(), &used).map_err(|found| found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lines_rename_merge_and_split_and_what_both_have_stays() {
        let whole = checked("cafes = \"food\"\nbars = \"food\"\ngames = [\"fun\", \"rent\"]").unwrap();
        assert_eq!(whole[&slug("bars")], Becomes::One(slug("food")));
        assert_eq!(whole[&slug("games")], Becomes::OneOf(vec![slug("fun"), slug("rent")]));
        assert_eq!(whole[&slug("rent")], Becomes::One(slug("rent")));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mistakes = checked("cofes = \"food\"\ncafes = \"foot\"\nbars = [\"food\", \"food\"]").unwrap_err();
        assert_eq!(
            mistakes,
            [
                "`bars` is split into fewer than two categories",
                "`cafes` shall become `foot`, which is no category of the new taxonomy",
                "`cofes` is no category of the old taxonomy",
                "`games` has 1 rows or rules, and nothing says what becomes of it",
            ]
        );
    }

    #[test]
    fn a_split_needs_descriptions_that_differ() {
        let mistakes = checked("cafes = \"food\"\ngames = [\"fun\", \"rent\", \"play\"]").unwrap_err();
        assert_eq!(mistakes, ["`games` is split into `fun` and `play`, which are described in the same words"]);
    }

    #[test]
    fn a_category_that_nothing_is_of_needs_no_line() {
        assert!(!checked("cafes = \"food\"\ngames = \"fun\"").unwrap().contains_key(&slug("bars")));
    }
}
