//! Compiles a brand table from the name-suggestion-index: its `nsi.json`, or the flat CSV form of it.
//!
//! The index maps names to OpenStreetMap tags for map editors; most of its entries are no merchant
//! (power lines, schools, flagpoles). What is kept is what `kinds.csv` lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use serde::Deserialize;

use super::{kinds::kind, squash::Squashed, words};
use crate::domain::{Merchant, transaction::Country};

/// Why a file is no name-suggestion-index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON of the package's `dist/json/nsi.json`.
    #[error("the file is not the name-suggestion-index's nsi.json")]
    Json(#[from] serde_json::Error),
    /// Not the flat CSV form.
    #[error("the file is not the CSV form of the name-suggestion-index")]
    Csv(#[from] csv::Error),
}

#[derive(Deserialize)]
struct Index {
    nsi: BTreeMap<String, Category>,
}

#[derive(Deserialize)]
struct Category {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    display_name: String,
    #[serde(default)]
    location_set: LocationSet,
    #[serde(default)]
    match_names: Vec<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct LocationSet {
    #[serde(default)]
    include: Vec<serde_json::Value>,
}

/// Reads `nsi.json` and keeps the merchants, sorted by id.
///
/// # Errors
/// When the file is not of that shape.
pub fn from_json(file: impl Read) -> Result<Vec<Merchant>, Error> {
    let index: Index = serde_json::from_reader(file)?;
    let mut merchants = Vec::new();
    for (path, category) in index.nsi {
        // tree/key/value, such as brands/shop/supermarket; flags and the stops of transit are no merchants.
        let mut parts = path.splitn(3, '/');
        let (Some(tree), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let tag = format!("{key}={value}");
        if kind(&tag).is_none() {
            continue;
        }
        let naming: &[&str] = match tree {
            "brands" => &["name", "brand", "short_name", "official_name", "alt_name", "name:en", "brand:en"],
            "operators" => &["operator", "operator:en"],
            "transit" => &["network", "network:en"],
            _ => continue,
        };
        for item in category.items {
            let names = naming
                .iter()
                .filter_map(|name| item.tags.get(*name))
                .flat_map(|names| names.split(';'))
                .chain(item.match_names.iter().map(String::as_str));
            let wikidata = ["brand:wikidata", "operator:wikidata", "network:wikidata"]
                .iter()
                .find_map(|tag| item.tags.get(*tag).cloned());
            let places = item.location_set.include.iter().filter_map(serde_json::Value::as_str);
            merchants.extend(entry(
                Row { id: &item.id, name: &item.display_name, kind: &tag, wikidata },
                names,
                places,
            ));
        }
    }
    merchants.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(merchants)
}

#[derive(Deserialize)]
struct FlatRow {
    nsi_id: String,
    name: String,
    aliases: String,
    osm_tag: String,
    countries: String,
    wikidata: String,
}

/// Reads the flat form (`nsi_id,name,aliases,osm_tag,countries,wikidata,tree`; lists parted by `|`).
///
/// # Errors
/// When the file is not of that shape.
pub fn from_csv(file: impl Read) -> Result<Vec<Merchant>, Error> {
    let mut merchants = Vec::new();
    for row in csv::Reader::from_reader(file).deserialize::<FlatRow>() {
        let row = row?;
        if kind(&row.osm_tag).is_some() {
            let wikidata = Some(row.wikidata).filter(|wikidata| !wikidata.is_empty());
            merchants.extend(entry(
                Row { id: &row.nsi_id, name: &row.name, kind: &row.osm_tag, wikidata },
                row.aliases.split('|'),
                row.countries.split('|'),
            ));
        }
    }
    merchants.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(merchants)
}

struct Row<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'a str,
    wikidata: Option<String>,
}

fn entry<'a>(
    row: Row<'_>,
    names: impl Iterator<Item = &'a str>,
    places: impl Iterator<Item = &'a str>,
) -> Option<Merchant> {
    // A display name may carry a region for editors: "Co-op (Wales)".
    let name = row.name.split(" (").next().unwrap_or(row.name).trim();
    if words::is_generic(name) || public_body(name) {
        return None;
    }
    let mut seen = BTreeSet::from([Squashed::of(name).text]);
    let mut aliases = Vec::new();
    for alias in names.map(str::trim) {
        let usable = !words::is_generic(alias) && alias.chars().count() <= 60 && !public_body(alias);
        if usable && seen.insert(Squashed::of(alias).text) {
            aliases.push(alias.to_owned());
        }
    }
    Some(Merchant {
        id: row.id.to_owned(),
        name: name.to_owned(),
        aliases,
        kind: row.kind.to_owned(),
        category: None,
        countries: countries(places),
        wikidata: row.wikidata,
    })
}

/// Owners of parks and pitches: a statement that names them says nothing about what was paid.
fn public_body(name: &str) -> bool {
    let name = name.to_lowercase();
    ["city of ", "town of ", "county of ", "village of ", "ministry ", "municipality "]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name.ends_with(" county")
        || name.ends_with(" city council")
}

/// ISO 3166 codes of a location set. Regions (`us-tx.geojson`) count as their country; a set that
/// names the world, or anything we can't place, means anywhere.
fn countries<'a>(places: impl Iterator<Item = &'a str>) -> Vec<Country> {
    let mut countries = BTreeSet::new();
    for place in places {
        let (code, region) = place.split_at_checked(2).unwrap_or((place, ""));
        if !(region.is_empty() || region.starts_with('-')) {
            return Vec::new();
        }
        let code = match code {
            "fx" => "FR".to_owned(),
            other => other.to_ascii_uppercase(),
        };
        let Ok(country) = code.parse() else { return Vec::new() };
        countries.insert(country);
    }
    countries.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"_meta":{}, "nsi": {
        "brands/shop/supermarket": {"properties": {}, "items": [
            {"displayName":"Co-op (Wales)","id":"coop-1","locationSet":{"include":["gb-wls","ie",[7.5,47.5,2]]},
             "matchNames":["co operative"],"tags":{"brand":"Co-op","brand:wikidata":"Q1","name":"Co-op Food","shop":"supermarket"}},
            {"displayName":"Supermarket","id":"generic-1","locationSet":{"include":["001"]},"tags":{"name":"Supermarket"}}]},
        "operators/power/tower": {"properties": {}, "items": [
            {"displayName":"Grid Co","id":"grid-1","locationSet":{"include":["us"]},"tags":{"operator":"Grid Co"}}]}}}"#;

    #[test]
    fn merchants_are_kept_and_towers_and_generic_words_are_not() {
        let merchants = from_json(JSON.as_bytes()).unwrap();
        assert_eq!(merchants.len(), 1);
        assert_eq!(merchants[0].name, "Co-op");
        assert_eq!(merchants[0].aliases, ["Co-op Food", "co operative"]);
        let countries: Vec<&str> = merchants[0].countries.iter().map(Country::as_str).collect();
        assert_eq!(countries, ["GB", "IE"]);
    }

    #[test]
    fn a_set_that_names_the_world_means_anywhere() {
        assert_eq!(countries(["us", "001"].into_iter()), []);
        assert_eq!(countries(["northern_europe.geojson"].into_iter()), []);
        assert_eq!(countries(["fx"].into_iter()), ["FR".parse().unwrap()]);
    }
}
