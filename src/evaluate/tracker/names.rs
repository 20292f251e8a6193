//! The categories that occur in a run, as numbers.

use std::collections::{BTreeMap, HashMap};

use crate::{domain::taxonomy::Category, store::EvalCell};

/// The categories that occur, numbered, each with its primary.
pub(super) struct Names<'a> {
    places: BTreeMap<&'a str, usize>,
    names: Vec<&'a str>,
    pub(super) primaries: Vec<usize>,
    primary_names: Vec<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(cells: &'a [EvalCell], categories: &'a [Category]) -> Self {
        let mut places: BTreeMap<&str, usize> =
            cells.iter().flat_map(|cell| [cell.expected.as_str(), &cell.predicted]).map(|name| (name, 0)).collect();
        places.values_mut().zip(0..).for_each(|(place, number)| *place = number);
        let names: Vec<&str> = places.keys().copied().collect();
        let parents: HashMap<&str, &str> = categories
            .iter()
            .filter_map(|category| Some((category.slug.as_str(), category.parent.as_ref()?.as_str())))
            .collect();
        let mut primary_names: Vec<&str> =
            names.iter().map(|name| parents.get(name).copied().unwrap_or(*name)).collect();
        let of_each = primary_names.clone();
        primary_names.sort_unstable();
        primary_names.dedup();
        let primaries = of_each.iter().filter_map(|name| primary_names.binary_search(name).ok()).collect();
        Self { places, names, primaries, primary_names }
    }

    pub(super) fn place(&self, name: &str) -> usize {
        self.places.get(name).copied().unwrap_or(self.names.len())
    }

    pub(super) fn name(&self, place: usize) -> String {
        self.names.get(place).copied().unwrap_or_default().to_owned()
    }

    /// Right rows and rows by primary category; nothing where no category has a primary.
    pub(super) fn by_primary(&self, cells: &[EvalCell]) -> Vec<(&'static str, String, usize, usize)> {
        let mut counts = vec![(0, 0); self.primary_names.len()];
        if self.primary_names.len() == self.names.len() {
            return Vec::new();
        }
        for cell in cells {
            let (correct, rows) = &mut counts[self.primaries[self.place(&cell.expected)]];
            *rows += cell.rows as usize;
            *correct += if cell.expected == cell.predicted { cell.rows as usize } else { 0 };
        }
        let named = self.primary_names.iter().zip(counts);
        named.map(|(name, (correct, rows))| ("primary", (*name).to_owned(), correct, rows)).collect()
    }
}
