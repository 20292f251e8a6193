//! The merchant directory in memory: which merchant a statement text names.
//!
//! Precision comes first, because a wrong merchant misleads more than none: an ordinary word, a
//! trade word beside the name, other words before it, or a brand of another country each lower the
//! score, and below [`ACCEPT_AT`] nothing is said. [`MerchantIndex::explain`] shows the weighing.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::{near::Near, score, squash::Squashed, table};
use crate::domain::{
    Currency, Descriptor, Merchant, MerchantMatch, Transaction, merchant::MatchKind, transaction::Country,
};

/// The score from which a candidate is believed.
pub const ACCEPT_AT: f32 = 0.5;

/// Longest name that is looked up, in bytes once squashed.
const LONGEST: usize = 48;

/// Shortest beginning of a name that is taken for a cut-off name, in bytes once squashed.
const SHORTEST_CUT: usize = 7;

/// Where card networks and banks cut a text, in characters.
const CUT_AT: std::ops::RangeInclusive<usize> = 18..=25;

/// All merchants, ready to be found in statement texts.
#[derive(Debug)]
pub struct MerchantIndex {
    merchants: Vec<Arc<Merchant>>,
    names: Vec<Name>,
    by_text: HashMap<Box<str>, u32, Xxh3DefaultBuilder>,
    sorted: Vec<u32>,
    near: Near,
}

/// One way in which some merchants are written.
#[derive(Debug)]
pub(super) struct Name {
    /// As the directory writes it.
    pub(super) written: Box<str>,
    /// Letters and digits only.
    pub(super) squashed: Box<str>,
    /// How much the name tells on its own.
    pub(super) strength: score::Strength,
    /// Whose it is: indexes of merchants, and whether it is the merchant's own name.
    owners: Vec<(u32, bool)>,
}

/// A merchant that was weighed for a text.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The match, with its score.
    pub found: MerchantMatch,
    /// Bytes of the squashed text that the match covers.
    pub covered: usize,
    /// What raised or lowered the score.
    pub notes: Vec<score::Note>,
}

impl Candidate {
    /// Whether the score is high enough to be believed.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.found.score >= ACCEPT_AT
    }
}

/// A stretch of a text that a name was found in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// First word.
    pub(super) first: usize,
    /// Last word.
    pub(super) last: usize,
    /// How it was found.
    pub(super) kind: MatchKind,
}

impl MerchantIndex {
    /// Indexes a directory. Where two merchants share a name, the later in the list comes first.
    #[must_use]
    pub fn build(merchants: Vec<Merchant>) -> Self {
        let mut index = Self {
            merchants: merchants.into_iter().map(Arc::new).collect(),
            names: Vec::new(),
            by_text: HashMap::default(),
            sorted: Vec::new(),
            near: Near::default(),
        };
        for at in 0..index.merchants.len() {
            let merchant = Arc::clone(&index.merchants[at]);
            index.add(&merchant.name, at as u32, true);
            for alias in &merchant.aliases {
                index.add(alias, at as u32, false);
            }
        }
        index.sorted = (0..index.names.len() as u32).collect();
        index.sorted.sort_unstable_by(|a, b| index.names[*a as usize].squashed.cmp(&index.names[*b as usize].squashed));
        index.near = Near::of(index.names.iter().map(|name| &*name.squashed));
        index
    }

    fn add(&mut self, written: &str, owner: u32, own: bool) {
        let squashed = Squashed::of(written);
        let strength = score::Strength::of(&squashed, written);
        for text in spellings(&squashed) {
            if text.len() < 2 || text.len() > LONGEST {
                continue;
            }
            let next = self.names.len() as u32;
            let at = *self.by_text.entry(text.clone().into_boxed_str()).or_insert(next);
            if at == next {
                self.names.push(Name { written: written.into(), squashed: text.into(), strength, owners: Vec::new() });
            }
            let owners = &mut self.names[at as usize].owners;
            if !owners.iter().any(|(other, _)| *other == owner) {
                owners.push((owner, own));
            }
        }
    }

    /// The merchants that ship with txcat; built once and shared.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: OnceLock<Arc<MerchantIndex>> = OnceLock::new();
        Arc::clone(SHIPPED.get_or_init(|| Arc::new(Self::build(table::shipped()))))
    }

    /// How many merchants it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.merchants.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merchants.is_empty()
    }

    /// All merchants, in the order they were given.
    pub fn merchants(&self) -> impl Iterator<Item = &Arc<Merchant>> {
        self.merchants.iter()
    }

    /// The merchant of a transaction, if one can be believed: [`Self::find`] in the country that
    /// [`country_of`] tells.
    #[must_use]
    pub fn of(&self, transaction: &Transaction) -> Option<MerchantMatch> {
        self.find(&transaction.descriptor, country_of(transaction).as_ref())
    }

    /// The merchant that a descriptor names, if one can be believed. `country` is where the
    /// transaction happened, as far as that is known.
    #[must_use]
    pub fn find(&self, descriptor: &Descriptor, country: Option<&Country>) -> Option<MerchantMatch> {
        self.explain(descriptor, country).into_iter().next().filter(Candidate::accepted).map(|best| best.found)
    }

    /// Everything that was weighed for a descriptor, the winner first.
    #[must_use]
    pub fn explain(&self, descriptor: &Descriptor, country: Option<&Country>) -> Vec<Candidate> {
        let cut = CUT_AT.contains(&descriptor.raw().trim_end().chars().count());
        self.candidates(&Squashed::of(descriptor.merchant()), cut, country)
    }

    pub(super) fn candidates(&self, text: &Squashed, cut: bool, country: Option<&Country>) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        self.whole_names(text, cut, country, &mut candidates);
        if cut {
            self.cut_names(text, country, &mut candidates);
        }
        if !candidates.iter().any(Candidate::accepted) {
            self.misspelt_names(text, cut, country, &mut candidates);
        }
        // The longest believable match wins, then the best score.
        candidates.sort_by(|a, b| {
            (b.accepted(), b.covered).cmp(&(a.accepted(), a.covered)).then(b.found.score.total_cmp(&a.found.score))
        });
        candidates
    }

    fn whole_names(&self, text: &Squashed, cut: bool, country: Option<&Country>, out: &mut Vec<Candidate>) {
        for first in 0..text.words.len() {
            for last in first..text.words.len() {
                let (start, end) = (text.words[first].start, text.words[last].end);
                if end - start > LONGEST {
                    break;
                }
                if let Some(name) = self.by_text.get(&text.text[start..end]) {
                    out.extend(self.weigh(text, *name, Span { first, last, kind: MatchKind::Exact }, cut, country));
                }
            }
        }
    }

    /// Names that begin with the rest of the text, from some word on.
    fn cut_names(&self, text: &Squashed, country: Option<&Country>, out: &mut Vec<Candidate>) {
        const FEW: usize = 12;
        for (first, word) in text.words.iter().enumerate() {
            let rest = &text.text[word.start..];
            if rest.len() < SHORTEST_CUT {
                break;
            }
            // Later in the text a beginning is more likely another name's part.
            if first > 0 && score::tells(text.word(text.words[first - 1])) {
                break;
            }
            if rest.bytes().any(|b| b.is_ascii_digit()) {
                continue;
            }
            let from = self.sorted.partition_point(|at| &*self.names[*at as usize].squashed <= rest);
            let longer = self.sorted[from..]
                .iter()
                .take_while(|at| self.names[**at as usize].squashed.starts_with(rest))
                .take(FEW + 1)
                .copied()
                .collect::<Vec<_>>();
            // Many names begin so: the beginning tells nothing.
            if longer.len() > FEW {
                continue;
            }
            let (cut, span) = (true, Span { first, last: text.words.len() - 1, kind: MatchKind::Truncated });
            for at in longer {
                if self.names[at as usize].squashed.len() <= rest.len() * 2 {
                    out.extend(self.weigh(text, at, span, cut, country));
                }
            }
        }
    }

    fn misspelt_names(&self, text: &Squashed, cut: bool, country: Option<&Country>, out: &mut Vec<Candidate>) {
        for first in 0..text.words.len().min(1) {
            for last in first..text.words.len().min(first + 4) {
                let (start, end) = (text.words[first].start, text.words[last].end);
                let span = Span { first, last, kind: MatchKind::Fuzzy };
                for at in self.near.to(&text.text[start..end], |at| &self.names[at as usize].squashed) {
                    out.extend(self.weigh(text, at, span, cut, country));
                }
            }
        }
    }

    fn weigh(&self, text: &Squashed, name: u32, span: Span, cut: bool, country: Option<&Country>) -> Option<Candidate> {
        let name = &self.names[name as usize];
        let owners: Vec<&Arc<Merchant>> = name.owners.iter().map(|(at, _)| &self.merchants[*at as usize]).collect();
        let merchant = *name
            .owners
            .iter()
            .zip(&owners)
            .min_by_key(|((at, own), merchant)| {
                let curated = merchant.id.starts_with(CURATED);
                let fit = score::fit(merchant, country);
                // Here and anywhere are as good: a chain's main business may be listed for the world, its side business for one country.
                let far = fit.max(score::Fit::Anywhere);
                (far, !curated, !own, score::rank(merchant), fit, std::cmp::Reverse(*at))
            })?
            .1;
        let (score, notes) = score::score(&score::Case { text, cut, span, name, merchant, owners: &owners, country });
        let covered = text.words[span.last].end - text.words[span.first].start;
        let found =
            MerchantMatch { merchant: Arc::clone(merchant), matched: name.written.to_string(), kind: span.kind, score };
        Some(Candidate { found, covered, notes })
    }
}

/// Our own additions, which settle what the compiled table leaves open.
pub(super) const CURATED: &str = "txcat-";

/// Where a transaction happened, as far as it tells: its own country, the text's, or that of a
/// currency which only one country uses.
#[must_use]
pub fn country_of(transaction: &Transaction) -> Option<Country> {
    let told = || transaction.descriptor.place()?.country.as_deref()?.parse().ok();
    transaction.country.clone().or_else(told).or_else(|| country_of_currency(transaction.amount.currency()))
}

fn country_of_currency(currency: Currency) -> Option<Country> {
    // Euro, CFA franc and the like: no one country. Elsewhere a code begins with its country's.
    const SHARED: &[&str] = &["ANG", "EUR", "XAF", "XCD", "XOF", "XPF"];
    let code = currency.code();
    if SHARED.contains(&code) || code.starts_with('X') {
        return None;
    }
    code[..2].parse().ok()
}

/// A name as statements spell it: without a leading article, `&` as it stands, spelled out or dropped.
fn spellings(name: &Squashed) -> Vec<String> {
    let mut spellings = vec![name.text.clone()];
    if name.words.len() > 1 && name.word(name.words[0]) == "the" {
        spellings.push(name.text["the".len()..].to_owned());
    }
    if name.text.contains('&') && name.text.len() > 4 {
        for plain in [name.text.replace('&', "and"), name.text.replace('&', "")] {
            spellings.push(plain);
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merchant(id: &str, name: &str, aliases: &[&str], kind: &str, countries: &[&str]) -> Merchant {
        Merchant {
            id: id.to_owned(),
            name: name.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            kind: kind.to_owned(),
            category: None,
            countries: countries.iter().map(|country| country.parse().unwrap()).collect(),
            wikidata: None,
        }
    }

    fn few() -> MerchantIndex {
        MerchantIndex::build(vec![
            merchant("metro-ca", "Metro", &[], "shop=supermarket", &["CA"]),
            merchant("metro-de", "Metro", &[], "shop=wholesale", &["DE"]),
            merchant("target", "Target", &[], "shop=department_store", &["US"]),
            merchant("next", "Next", &[], "shop=clothes", &[]),
            merchant("shoppers", "Shoppers Drug Mart", &[], "amenity=pharmacy", &["CA"]),
            merchant("tire", "Canadian Tire", &["CDN Tire"], "shop=department_store", &["CA"]),
            merchant("tire-gas", "Canadian Tire Gas Bar", &[], "amenity=fuel", &["CA"]),
            merchant("walmart", "Walmart", &[], "shop=department_store", &[]),
            merchant("ikea", "IKEA", &[], "shop=furniture", &[]),
            merchant("ikea-play", "IKEA Småland", &["ikea"], "leisure=indoor_play", &[]),
            merchant("dart", "DART", &[], "route=bus", &["US"]),
        ])
    }

    fn found(raw: &str, country: &str) -> Option<(String, MatchKind)> {
        let descriptor = Descriptor::parse(raw).unwrap();
        few().find(&descriptor, country.parse().ok().as_ref()).map(|found| (found.merchant.id.clone(), found.kind))
    }

    fn id(raw: &str, country: &str) -> Option<String> {
        found(raw, country).map(|(id, _)| id)
    }

    #[test]
    fn names_are_found_however_statements_write_them() {
        for raw in ["WAL-MART #3111", "WALMART SUPERCENTER", "Walmart.ca", "WAL MART 12", "SQ *WALMART"] {
            assert_eq!(id(raw, "CA").as_deref(), Some("walmart"), "{raw}");
        }
    }

    #[test]
    fn the_longest_name_wins() {
        assert_eq!(id("CANADIAN TIRE GAS BAR #1", "CA").as_deref(), Some("tire-gas"));
        assert_eq!(id("CANADIAN TIRE #1", "CA").as_deref(), Some("tire"));
    }

    #[test]
    fn a_name_that_several_merchants_have_goes_to_the_one_of_the_country() {
        assert_eq!(id("METRO #748", "CA").as_deref(), Some("metro-ca"));
        assert_eq!(id("METRO FIL. 12", "DE").as_deref(), Some("metro-de"));
        assert_eq!(id("METRO 12", "JP"), None);
    }

    #[test]
    fn a_merchants_own_name_comes_before_anothers_alias() {
        assert_eq!(id("IKEA ETOBICOKE", "CA").as_deref(), Some("ikea"));
    }

    #[test]
    fn ordinary_words_are_believed_only_where_nothing_speaks_against_them() {
        assert_eq!(id("TARGET 00012345", "US").as_deref(), Some("target"));
        assert_eq!(id("TARGET BUILDING SUPPLIES", "US"), None);
        assert_eq!(id("NEXT PLUMBING", "GB"), None);
        assert_eq!(id("WHAT NEXT", "GB"), None);
        assert_eq!(id("METRO PLUMBING LTD", "CA"), None);
        assert_eq!(id("DART GLASS 1989 CORP", "US"), None);
    }

    #[test]
    fn a_name_cut_off_at_the_end_of_the_text_is_found() {
        assert_eq!(found("SQ *SHOPPERS DRUG MAR", "CA"), Some(("shoppers".to_owned(), MatchKind::Truncated)));
        // Not cut: 12 characters are no one's limit.
        assert_eq!(id("SHOPPERS DRU", "CA"), None);
    }

    #[test]
    fn one_typing_error_is_forgiven_in_a_long_name() {
        assert_eq!(found("SHOPERS DRUG MART 12", "CA"), Some(("shoppers".to_owned(), MatchKind::Fuzzy)));
        assert_eq!(id("WALMRAT", "CA"), None);
    }

    #[test]
    fn the_shipped_directory_finds_well_known_brands_and_leaves_local_shops_alone() {
        let index = MerchantIndex::shipped();
        let kind = |raw: &str, country: &str| {
            let country = country.parse().ok();
            index.find(&Descriptor::parse(raw).unwrap(), country.as_ref()).map(|found| found.merchant.kind.clone())
        };
        for (raw, country, expected) in [
            ("TIM HORTONS #2341", "CA", "amenity=cafe"),
            ("CDN TIRE STORE #00654", "CA", "shop=department_store"),
            ("NETFLIX.COM", "US", "online=video_streaming"),
            ("AMZN MKTP US*2K4AB12C3", "US", "online=marketplace"),
            ("SAINSBURYS S/MKTS", "GB", "shop=supermarket"),
            ("REWE SAGT DANKE", "DE", "shop=supermarket"),
            ("ROSSMANN 3412", "DE", "shop=chemist"),
            ("CARREFOUR CITY", "FR", "shop=convenience"),
        ] {
            assert_eq!(kind(raw, country).as_deref(), Some(expected), "{raw}");
        }
        for raw in ["JOE'S PLUMBING", "ST MARY'S PARISH HALL", "A1 LANDSCAPING", "2032 83577132", "KESTREL & DOYLE"] {
            assert_eq!(kind(raw, "CA"), None, "{raw}");
        }
    }
}
