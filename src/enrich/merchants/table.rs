//! Merchant tables as CSV: the one that ships inside the binary, and a team's own.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::kinds::kind;
use crate::domain::{Merchant, Slug, transaction::Country};

/// The shipped brand table, gzip: compiled from the name-suggestion-index; see `data/NOTICE`.
const BRANDS: &[u8] = include_bytes!("data/brands.csv.gz");

/// Our own additions: services without a shop, and names that statements shorten.
const ADDITIONS: &[u8] = include_bytes!("data/additions.csv");

/// The columns of a table file. Lists are parted by `|`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    name: String,
    #[serde(default)]
    aliases: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    countries: String,
    #[serde(default)]
    wikidata: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    category: String,
}

/// What is wrong with one row of a table.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The line is not of the table's columns.
    #[error("can't be read: {0}")]
    Unreadable(#[source] csv::Error),
    /// No identifier.
    #[error("`id` is empty")]
    NoId,
    /// The identifier stands twice.
    #[error("`id` `{id}` stands twice")]
    Duplicate {
        /// The identifier.
        id: String,
    },
    /// No name to match with.
    #[error("`name` has no letters or digits")]
    NoName,
    /// Neither a known kind nor a category.
    #[error("`kind` `{kind}` is no listed OpenStreetMap tag; give a `category` with it")]
    Kind {
        /// What stands there.
        kind: String,
    },
    /// Not a slug.
    #[error("`category` `{category}` is not a slug")]
    Category {
        /// What stands there.
        category: String,
    },
    /// Not an ISO 3166 code.
    #[error("`countries` has `{country}`, which is not an ISO 3166-1 alpha-2 code")]
    Country {
        /// What stands there.
        country: String,
    },
    /// Not a Wikidata item.
    #[error("`wikidata` `{wikidata}` is not an item such as Q483551")]
    Wikidata {
        /// What stands there.
        wikidata: String,
    },
}

/// A row that was left out.
#[derive(Debug)]
pub struct Rejected {
    /// Its line in the file; the header is line 1.
    pub line: u64,
    /// Why.
    pub problem: Problem,
}

/// What a table file holds.
#[derive(Debug, Default)]
pub struct Table {
    /// The rows that were read, in the file's order.
    pub merchants: Vec<Merchant>,
    /// The rows that were not.
    pub rejected: Vec<Rejected>,
}

/// Reads a merchant table: `id,name[,aliases,kind,countries,wikidata,category]`, lists parted by `|`.
pub fn read(file: impl Read) -> Table {
    let mut table = Table::default();
    let mut ids = std::collections::HashSet::new();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    for (at, row) in reader.deserialize::<Row>().enumerate() {
        let parsed = row.map_err(Problem::Unreadable).and_then(|row| {
            let merchant = merchant(row)?;
            if ids.insert(merchant.id.clone()) { Ok(merchant) } else { Err(Problem::Duplicate { id: merchant.id }) }
        });
        match parsed {
            Ok(merchant) => table.merchants.push(merchant),
            Err(problem) => {
                let line = match &problem {
                    Problem::Unreadable(error) => error.position().map(csv::Position::line),
                    _ => None,
                };
                table.rejected.push(Rejected { line: line.unwrap_or(at as u64 + 2), problem });
            }
        }
    }
    table
}

fn merchant(row: Row) -> Result<Merchant, Problem> {
    if row.id.is_empty() {
        return Err(Problem::NoId);
    }
    if !row.name.chars().any(char::is_alphanumeric) {
        return Err(Problem::NoName);
    }
    let category = match (row.category.as_str(), kind(&row.kind)) {
        ("", Some(kind)) => kind.category.clone(),
        ("", None) => return Err(Problem::Kind { kind: row.kind }),
        (slug, _) => Some(slug.parse::<Slug>().map_err(|_| Problem::Category { category: slug.to_owned() })?),
    };
    let countries = list(&row.countries)
        .map(|country| country.parse::<Country>().map_err(|_| Problem::Country { country: country.to_owned() }))
        .collect::<Result<_, _>>()?;
    let wikidata = Some(row.wikidata).filter(|wikidata| !wikidata.is_empty());
    if let Some(item) = &wikidata
        && item.strip_prefix('Q').is_none_or(|digits| digits.parse::<u64>().is_err())
    {
        return Err(Problem::Wikidata { wikidata: item.clone() });
    }
    Ok(Merchant {
        id: row.id,
        name: row.name,
        aliases: list(&row.aliases).map(str::to_owned).collect(),
        kind: row.kind,
        category,
        countries,
        wikidata,
    })
}

fn list(field: &str) -> impl Iterator<Item = &str> {
    field.split('|').map(str::trim).filter(|item| !item.is_empty())
}

/// Writes a table with the columns that [`read`] reads.
///
/// # Errors
/// What the writer says.
pub fn write(merchants: &[Merchant], out: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for merchant in merchants {
        let countries: Vec<&str> = merchant.countries.iter().map(Country::as_str).collect();
        writer.serialize(Row {
            id: merchant.id.clone(),
            name: merchant.name.clone(),
            aliases: merchant.aliases.join("|"),
            kind: merchant.kind.clone(),
            countries: countries.join("|"),
            wikidata: merchant.wikidata.clone().unwrap_or_default(),
            category: String::new(),
        })?;
    }
    writer.flush()?;
    Ok(())
}

/// The shipped directory: brands compiled from the name-suggestion-index, then our additions.
#[must_use]
pub fn shipped() -> Vec<Merchant> {
    let mut merchants = read(MultiGzDecoder::new(BRANDS)).merchants;
    merchants.extend(read(ADDITIONS).merchants);
    merchants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_tables_have_no_bad_row() {
        for file in [Box::new(MultiGzDecoder::new(BRANDS)) as Box<dyn Read>, Box::new(ADDITIONS)] {
            let table = read(file);
            assert!(table.rejected.is_empty(), "{:?}", table.rejected.first());
        }
        assert!(shipped().len() > 10_000);
    }

    #[test]
    fn a_bad_row_is_left_out_with_its_line_and_reason() {
        let file = "id,name,kind,countries,wikidata,category\n\
                    a,Alfa,shop=supermarket,CA,Q1,\n\
                    ,Beta,shop=supermarket,,,\n\
                    c,Gamma,man_made=tower,,,\n\
                    d,Delta,,xx,,coffee_shops\n\
                    a,Epsilon,shop=supermarket,,,\n\
                    f,Zeta,shop=supermarket,CA,483551,\n\
                    g,***,shop=supermarket,,,\n";
        let table = read(file.as_bytes());
        assert_eq!(table.merchants.len(), 1);
        let said: Vec<String> =
            table.rejected.iter().map(|rejected| format!("{}: {}", rejected.line, rejected.problem)).collect();
        assert_eq!(
            said,
            [
                "3: `id` is empty",
                "4: `kind` `man_made=tower` is no listed OpenStreetMap tag; give a `category` with it",
                "5: `countries` has `xx`, which is not an ISO 3166-1 alpha-2 code",
                "6: `id` `a` stands twice",
                "7: `wikidata` `483551` is not an item such as Q483551",
                "8: `name` has no letters or digits",
            ]
        );
    }
}
