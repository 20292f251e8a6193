//! The shops of the demo's countries: brands by name, and local shops made of words.

use std::collections::BTreeMap;

use super::dice::Dice;

/// One of the demo's countries.
#[derive(Debug, Clone)]
pub(super) struct Land {
    pub(super) code: &'static str,
    pub(super) currency: &'static str,
    pub(super) language: &'static str,
    /// What a thing for one unit costs here.
    pub(super) price: f64,
    /// Region (may be empty) and city.
    pub(super) cities: Vec<(&'static str, &'static str)>,
}

/// How a shop is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// A chain with numbered branches.
    Chain,
    /// One shop; the processor prefix of its card terminal, which may be empty.
    Local(&'static str),
    /// No shop at all.
    Online,
}

/// A merchant of the demo.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) name: String,
    pub(super) reach: Reach,
    /// Where a local shop is: an index into the land's cities.
    pub(super) city: usize,
    /// Opens only after the training period.
    pub(super) late: bool,
}

/// All shops of one country, by category; the first of a category has the most customers.
pub(super) struct Catalog {
    pub(super) land: Land,
    by_category: BTreeMap<&'static str, Vec<Shop>>,
}

/// Categories whose brands have no shop.
const ONLINE: &[&str] = &[
    "online_marketplace",
    "streaming_and_video",
    "music_and_audio",
    "video_games",
    "software_and_apps",
    "food_delivery",
    "investment_contribution",
    "savings_deposit",
    "personal_loan_payment",
    "transfer_out",
    "gambling",
    "flights",
    "travel_agency",
    "electricity_and_gas",
    "water_and_waste",
    "internet_and_tv",
    "telephone",
    "vehicle_insurance",
    "home_insurance",
    "health_and_life_insurance",
    "other_insurance",
    "donations",
    "membership_dues",
    "other_services",
    "tolls",
    "rent",
];

/// Of shops beyond the best known, the share that opens after the training period.
const LATE: f64 = 0.24;

const SURNAMES: &[&str] = &[
    "Abbott",
    "Amato",
    "Bianchi",
    "Brandt",
    "Calder",
    "Carrow",
    "Delmas",
    "Doyle",
    "Eklund",
    "Fenner",
    "Ferrand",
    "Garnier",
    "Haddad",
    "Hollis",
    "Ibarra",
    "Jansen",
    "Kaplan",
    "Kessler",
    "Lavoie",
    "Lindqvist",
    "Maddox",
    "Marchetti",
    "Novak",
    "Okafor",
    "Pelletier",
    "Petrov",
    "Quinlan",
    "Rahman",
    "Ritter",
    "Roussel",
    "Salgado",
    "Sandhu",
    "Thorne",
    "Tremblay",
    "Ueda",
    "Vance",
    "Vogel",
    "Whitlock",
    "Yilmaz",
    "Zimmer",
];
const ADJECTIVES: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "Old Town",
            "Riverside",
            "Golden",
            "Corner",
            "Parkview",
            "Little",
            "Station",
            "Hilltop",
            "Blue Door",
            "Maple",
        ],
    ),
    ("de", &["Alte", "Am Markt", "Zur Post", "Nordstern", "Linden", "Stadt", "Sonnen", "Am Rathaus", "Kleine", "Eck"]),
    (
        "fr",
        &[
            "Du Marché",
            "De La Gare",
            "Des Halles",
            "Du Centre",
            "Saint Michel",
            "Du Parc",
            "Petit",
            "Le Grand",
            "Du Port",
            "Vieux",
        ],
    ),
];
/// Names that tell nothing about the trade: only a visit, or an earlier label, does.
const OPAQUE: &[&str] = &[
    "Kestrel",
    "Morello",
    "Tamsin",
    "Bramble",
    "Oxbow",
    "Juno",
    "Salter",
    "Halcyon",
    "Wren",
    "Marlow",
    "Fable",
    "Ember",
    "Cobalt",
    "Lumen",
    "Nimbus",
    "Orchid",
    "Pavo",
    "Quill",
    "Rook",
    "Sorrel",
    "Tansy",
    "Umbra",
    "Vesper",
    "Willow Lane",
    "Yarrow",
    "Zephyr",
    "Anvil",
    "Birch",
    "Copperline",
    "Dovetail",
    "Elmo",
    "Figaro",
    "Gantry",
    "Harlow",
    "Inkwell",
];

/// The five countries.
pub(super) fn lands() -> Vec<Land> {
    let land = |code, currency, language, price| Land { code, currency, language, price, cities: Vec::new() };
    let mut lands = vec![
        land("US", "USD", "en", 1.0),
        land("CA", "CAD", "en", 1.25),
        land("GB", "GBP", "en", 0.8),
        land("DE", "EUR", "de", 0.9),
        land("FR", "EUR", "fr", 0.9),
    ];
    for row in rows(include_str!("data/places.csv")) {
        if let Some(land) = lands.iter_mut().find(|land| land.code == row[0]) {
            land.cities.extend(row[2].split('|').map(|city| (row[1], city)));
        }
    }
    lands
}

fn rows(file: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    file.lines().skip(1).map(|line| line.splitn(3, ',').collect())
}

impl Catalog {
    /// Opens the shops of a country.
    pub(super) fn of(land: Land, seed: u64) -> Self {
        let mut dice = Dice::new(seed, &format!("shops {}", land.code));
        let mut by_category: BTreeMap<&'static str, Vec<Shop>> = BTreeMap::new();
        for row in rows(include_str!("data/brands.csv")) {
            if row[0].split('|').any(|code| code == land.code) {
                let reach = if ONLINE.contains(&row[1]) { Reach::Online } else { Reach::Chain };
                let shops = by_category.entry(row[1]).or_default();
                shops.extend(row[2].split('|').map(|name| Shop { name: name.to_owned(), reach, city: 0, late: false }));
            }
        }
        for row in rows(include_str!("data/locals.csv")).filter(|row| row[0] == land.language) {
            let nouns: Vec<&str> = row[2].split('|').collect();
            let shops = by_category.entry(row[1]).or_default();
            // Restaurants are mostly local, supermarkets mostly not.
            let count = match row[1] {
                "restaurant" => 70,
                "fast_food" | "coffee_shop" | "bar_and_nightlife" | "hair_and_beauty" => 32,
                "convenience_store" | "specialty_food" | "clothing_and_shoes" | "doctor" | "vehicle_repair" => 22,
                _ => 9,
            };
            for _ in 0..count {
                let name = local_name(&land, &nouns, &mut dice);
                let prefixes: &[&str] = match land.code {
                    "US" => &["", "", "SQ *", "TST* ", "SP ", "PY *", "PAYPAL *"],
                    "CA" => &["", "", "", "SQ *", "SP ", "PAYPAL *"],
                    "GB" => &["", "", "SUMUP *", "ZETTLE_*", "SQ *", "PAYPAL *"],
                    _ => &["", "", "", "SUMUP *", "PAYPAL *"],
                };
                let city = dice.below(land.cities.len());
                let reach = Reach::Local(dice.pick(prefixes));
                let at = dice.below(shops.len() + 1);
                shops.insert(at, Shop { name, reach, city, late: false });
            }
        }
        for shops in by_category.values_mut() {
            for shop in shops.iter_mut().skip(2) {
                shop.late = dice.chance(LATE);
            }
        }
        Self { land, by_category }
    }

    /// The shops of a category that are open, best known first.
    pub(super) fn shops(&self, category: &str, late: bool) -> Vec<&Shop> {
        self.by_category.get(category).into_iter().flatten().filter(|shop| shop.late == late).collect()
    }

    /// A shop by name; names settle the ambiguous purposes.
    pub(super) fn named(&self, category: &str, name: &str) -> Option<&Shop> {
        self.by_category.get(category)?.iter().find(|shop| shop.name == name)
    }
}

fn local_name(land: &Land, nouns: &[&str], dice: &mut Dice) -> String {
    let noun = dice.pick(nouns);
    let noun_first = land.language != "en";
    let join = |word: &str| if noun_first { format!("{noun} {word}") } else { format!("{word} {noun}") };
    match dice.below(8) {
        0 | 1 if noun_first => join(dice.pick(SURNAMES)),
        0 | 1 => format!("{}'s {noun}", dice.pick(SURNAMES)),
        2 | 3 => {
            let list = ADJECTIVES.iter().find(|(language, _)| *language == land.language).map_or(&[][..], |(_, l)| l);
            join(dice.pick(list))
        }
        4 => join(land.cities[dice.below(land.cities.len())].1),
        5 => join(dice.pick(OPAQUE)),
        6 => format!("{} & {}", dice.pick(OPAQUE), dice.pick(SURNAMES)),
        _ => format!("{} {}", dice.pick(OPAQUE), dice.pick(&["Co", "Studio", "House", "Works", "Collective"])),
    }
}
