//! How banks and card networks write a statement line: prefixes, branch numbers, places, codes, the cut.

use chrono::{Datelike, NaiveDate};

use super::{
    catalog::{Land, Reach, Shop},
    dice::Dice,
};

/// How an account's bank writes; an index into the styles of its country.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bank {
    style: usize,
    /// Most characters of a line, where the bank cuts.
    cut: Option<usize>,
}

impl Bank {
    /// Some bank.
    pub(super) fn any(dice: &mut Dice) -> Self {
        let cut = dice.pick(&[Some(22), Some(22), Some(25), None, None]);
        Self { style: dice.below(3), cut }
    }

    fn cut(self, text: &str) -> String {
        let text = text.trim();
        self.cut
            .map_or_else(|| text.to_owned(), |most| text.chars().take(most).collect::<String>().trim_end().to_owned())
    }

    /// A purchase at a shop, with the branch and the city of this visit.
    pub(super) fn purchase(self, land: &Land, shop: &Shop, at: Visit<'_>, dice: &mut Dice) -> String {
        let name = capitals(&shop.name, land);
        let (region, city) = match shop.reach {
            Reach::Local(_) => land.cities[shop.city],
            _ => at.city,
        };
        let (region, city) = (region, capitals(city, land));
        let wallet = if land.code == "US" && dice.chance(0.04) { "APLPAY " } else { "" };
        match shop.reach {
            Reach::Online => self.online(land, &name, region, dice),
            Reach::Local(prefix) => {
                let line = self.line(land, &format!("{wallet}{prefix}{name}"), "", (region, &city), at.day);
                self.cut(&line)
            }
            Reach::Chain => {
                let branch = at.branch;
                let number = match (land.code, self.style) {
                    ("US" | "CA", 0) => format!("#{branch:04}"),
                    ("US" | "CA", 1) => format!("{branch:05}"),
                    ("US" | "CA", _) => format!("STORE {branch}"),
                    ("DE", 0) => format!("FIL. {branch:04}"),
                    ("GB", 0 | 1) => format!("{branch:04}"),
                    _ => String::new(),
                };
                let line = self.line(land, &format!("{wallet}{name}"), &number, (region, &city), at.day);
                self.cut(&line)
            }
        }
    }

    fn line(self, land: &Land, name: &str, number: &str, (region, city): (&str, &str), day: NaiveDate) -> String {
        let number = if number.is_empty() { String::new() } else { format!(" {number}") };
        let (d, m) = (day.day(), day.month());
        match (land.code, self.style) {
            ("US", 2) => format!("POS DEBIT {name}{number} {m:02}/{d:02}"),
            ("US", _) => format!("{name}{number} {city} {region}"),
            ("CA", 2) => format!("{name}{number}"),
            ("CA", _) => format!("{name}{number} {city} {region}"),
            ("GB", 0) => format!("{name}{number} {city} GB"),
            ("GB", 1) => format!("CARD PAYMENT TO {name}{number}"),
            ("GB", _) => format!("{name} {city} ON {d:02} {}", MONTHS[m as usize - 1]),
            ("DE", 0) => format!("{name}{number}//{city}/DE"),
            ("DE", 1) => format!("{name} SAGT DANKE {city}"),
            ("DE", _) => format!("KARTENZAHLUNG {name} {city} {d:02}.{m:02}."),
            (_, 0) => format!("CB {name} {d:02}/{m:02} {city}"),
            (_, 1) => format!("CARTE {d:02}{m:02} {name}"),
            _ => format!("PAIEMENT CB {name} {city} FR"),
        }
    }

    fn online(self, land: &Land, name: &str, region: &str, dice: &mut Dice) -> String {
        let line = match dice.below(5) {
            0 => format!("{name}*{}", dice.code(9)),
            1 => format!("{name} {}", dice.code(8)),
            2 if matches!(land.code, "US" | "CA") => {
                format!("{name} 8{}-{}-{} {region}", dice.digits(2), dice.digits(3), dice.digits(4))
            }
            3 if !name.contains('.') => format!("{name}.COM"),
            _ => name.to_owned(),
        };
        self.cut(&line)
    }

    /// A bill that comes by itself.
    pub(super) fn bill(self, land: &Land, name: &str, reference: &str) -> String {
        let name = capitals(name, land);
        match (land.code, self.style) {
            ("US", 0) => format!("{name} AUTOPAY {reference}"),
            ("US", 1) => format!("ACH DEBIT {name} WEB ID: {reference}"),
            ("US", _) => format!("{name} BILL PAYMT"),
            ("CA", 0) => format!("{name} BPY/FAC"),
            ("CA", _) => format!("PREAUTHORIZED DEBIT {name} {reference}"),
            ("GB", 0) => format!("DIRECT DEBIT PAYMENT TO {name} REF {reference}"),
            ("GB", _) => format!("{name} {reference} DD"),
            ("DE", 0) => format!("SEPA-LASTSCHRIFT {name} MANDAT {reference}"),
            ("DE", _) => format!("{name} KD-NR {reference}"),
            (_, 0) => format!("PRLV SEPA {name} {reference}"),
            _ => format!("PRELEVEMENT {name}"),
        }
    }

    /// Money to (`out`) or from a person.
    pub(super) fn person(self, land: &Land, name: &str, out: bool, dice: &mut Dice) -> String {
        let name = capitals(name, land);
        match (land.code, self.style, out) {
            ("US", 0, true) => format!("ZELLE TO {name} {}", dice.code(8)),
            ("US", 0, false) => format!("ZELLE FROM {name} {}", dice.code(8)),
            ("US", 1, _) => format!("VENMO *{name}"),
            ("US", _, true) => format!("PAYPAL *{}", name.replace(' ', "")),
            ("US", ..) => format!("CASH APP*{name}"),
            ("CA", _, true) => format!("INTERAC E-TRANSFER SENT {name} {}", dice.code(6)),
            ("CA", ..) => format!("E-TRANSFER RECEIVED {name} {}", dice.code(6)),
            ("GB", 0, true) => format!("FASTER PAYMENT TO {name}"),
            ("GB", 0, false) => format!("FASTER PAYMENT FROM {name}"),
            ("GB", ..) => format!("{name} {} FPS", dice.pick(&["THANKS", "DINNER", "BILLS", "REF"])),
            ("DE", _, true) => format!("UEBERWEISUNG AN {name}"),
            ("DE", ..) => format!("GUTSCHRIFT {name}"),
            (_, _, true) => format!("VIR INST VERS {name}"),
            _ => format!("VIR RECU DE {name}"),
        }
    }
}

/// When and where a purchase is made.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) day: NaiveDate,
    /// Region and city.
    pub(super) city: (&'a str, &'a str),
    pub(super) branch: usize,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Capitals as banks print them: no accents (in German, spelled out), no apostrophes in half of the countries.
pub(super) fn capitals(text: &str, land: &Land) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ä' | 'Ä' if land.code == "DE" => out.push_str("AE"),
            'ö' | 'Ö' if land.code == "DE" => out.push_str("OE"),
            'ü' | 'Ü' if land.code == "DE" => out.push_str("UE"),
            'ß' => out.push_str("SS"),
            'à' | 'â' | 'ä' => out.push('A'),
            'é' | 'è' | 'ê' | 'ë' | 'É' | 'È' => out.push('E'),
            'î' | 'ï' => out.push('I'),
            'ô' | 'ö' => out.push('O'),
            'û' | 'ü' | 'ù' => out.push('U'),
            'ç' | 'Ç' => out.push('C'),
            '\'' if matches!(land.code, "US" | "GB") => {}
            other => out.extend(other.to_uppercase()),
        }
    }
    out
}
