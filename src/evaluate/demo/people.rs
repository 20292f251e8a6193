//! The demo's account holders: what they live from, where they go, and what an ambiguous line means to each.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::{
    catalog::{Catalog, Shop},
    dice::Dice,
    shapes::Bank,
};

/// Something that comes back every month.
#[derive(Debug, Clone)]
pub(super) struct Recurring {
    pub(super) category: &'static str,
    pub(super) descriptor: String,
    pub(super) cents: u64,
    /// Share by which the amount varies.
    pub(super) varies: f64,
    pub(super) credit: bool,
    pub(super) day: u32,
}

/// An account, and the habits behind it.
pub(super) struct Account<'a> {
    pub(super) id: String,
    pub(super) catalog: &'a Catalog,
    pub(super) bank: Bank,
    pub(super) from: NaiveDate,
    /// Takes pay and pays bills; otherwise a card.
    pub(super) main: bool,
    pub(super) home: usize,
    pub(super) branch: usize,
    pub(super) car: bool,
    pub(super) pets: bool,
    pub(super) kids: bool,
    /// How much of each category, against the average.
    pub(super) taste: BTreeMap<&'static str, f64>,
    /// Where it goes for a category, first choice first.
    pub(super) favourites: BTreeMap<&'static str, Vec<&'a Shop>>,
    pub(super) recurring: Vec<Recurring>,
    /// What purchases at the big marketplace are for, in this household.
    pub(super) marketplace_is_for: &'static str,
    /// The weekly shop is done at a department store.
    pub(super) groceries_at: Option<&'a Shop>,
    /// Everyday things are bought at the pharmacy.
    pub(super) pharmacy_groceries: Option<&'a Shop>,
    pub(super) friends: Vec<String>,
    pub(super) own_account: String,
    /// What a transfer to the own account is: set aside, or just moved.
    pub(super) own_transfer: &'static str,
}

const FIRST_NAMES: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "Alice", "Ben", "Chloe", "Dev", "Emma", "Farah", "Grace", "Hugo", "Isla", "Jack", "Kira", "Liam", "Mona",
            "Noah", "Owen", "Priya", "Ruth", "Sam", "Tess", "Zoe",
        ],
    ),
    (
        "de",
        &[
            "Anna", "Bernd", "Clara", "Dirk", "Elif", "Felix", "Greta", "Hannes", "Ines", "Jonas", "Katrin", "Lukas",
            "Mia", "Nils", "Paula", "Ralf", "Sofie", "Tim", "Uwe", "Yara",
        ],
    ),
    (
        "fr",
        &[
            "Adele", "Bruno", "Camille", "David", "Elise", "Fabien", "Gaelle", "Hugo", "Ines", "Jules", "Karim", "Lea",
            "Manon", "Noe", "Oceane", "Paul", "Rose", "Simon", "Theo", "Yasmine",
        ],
    ),
];
const LAST_NAMES: &[&str] = &[
    "Adair", "Bosch", "Cruz", "Dubois", "Evans", "Fischer", "Gauthier", "Hansen", "Iqbal", "Joshi", "Keller",
    "Lambert", "Mori", "Nguyen", "Oconnor", "Park", "Quist", "Rossi", "Silva", "Turner", "Ullman", "Varga", "Weber",
    "Young",
];
/// Generated employers: no real company's payroll.
const EMPLOYERS: &[&str] = &[
    "Northgate Logistics",
    "Ardent Software",
    "Lakeshore Hospital",
    "Meridian Foods",
    "City Schools Board",
    "Pinewood Homes",
    "Sterling Foundry",
    "Brightwater Media",
    "Union Tooling",
    "Harbour Freight Lines",
    "Solace Care",
    "Vantage Retail",
];
/// Companies that sell line and mobile under one name: which it is depends on the customer.
const TELCOS: &[(&str, &[&str])] = &[
    ("US", &["Verizon", "AT&T Payment"]),
    ("CA", &["Rogers", "Bell Canada", "Telus"]),
    ("GB", &["BT Group", "Sky Digital", "Vodafone"]),
    ("DE", &["Vodafone GmbH", "1&1 Telecom", "O2"]),
    ("FR", &["Orange SA", "Free Telecom"]),
];
/// Insurers that sell every kind of cover.
const INSURERS: &[(&str, &[&str])] = &[
    ("US", &["State Farm", "Allstate", "Liberty Mutual", "Farmers Insurance"]),
    ("CA", &["Desjardins Insurance", "TD Insurance", "Co-operators", "Aviva"]),
    ("GB", &["Aviva", "Direct Line", "LV Insurance", "AXA"]),
    ("DE", &["Allianz", "AXA", "Ergo Versicherung", "R+V Versicherung"]),
    ("FR", &["AXA", "Groupama", "MAIF", "Macif"]),
];

pub(super) fn of_list<T: Copy>(lists: &[(&str, T)], key: &str) -> T {
    lists.iter().find(|(name, _)| *name == key).map_or(lists[0].1, |(_, list)| *list)
}

/// A person's name: a generated first name and an initial, or a last name.
pub(super) fn person(language: &str, dice: &mut Dice) -> String {
    let first = dice.pick(of_list(FIRST_NAMES, language));
    let last = dice.pick(LAST_NAMES);
    if dice.chance(0.3) { format!("{first} {}", &last[..1]) } else { format!("{first} {last}") }
}

impl<'a> Account<'a> {
    /// Someone with habits; `number` names the account.
    pub(super) fn new(number: usize, catalog: &'a Catalog, from: NaiveDate, seed: u64) -> Self {
        let dice = &mut Dice::new(seed, &format!("account {number}"));
        let land = &catalog.land;
        let bank = Bank::any(dice);
        let friends = (0..5).map(|_| person(land.language, dice)).collect();
        let mut account = Self {
            id: format!("demo-{number:04}"),
            catalog,
            bank,
            from,
            main: dice.chance(0.6),
            home: dice.below(land.cities.len()),
            branch: 10 + dice.below(4_000),
            car: dice.chance(0.62),
            pets: dice.chance(0.35),
            kids: dice.chance(0.35),
            taste: BTreeMap::new(),
            favourites: BTreeMap::new(),
            recurring: Vec::new(),
            marketplace_is_for: match dice.below(20) {
                0..13 => "online_marketplace",
                13 | 14 => "books_and_news",
                15 | 16 => "office_supplies",
                17 | 18 => "hobbies_toys_and_crafts",
                _ => "electronics",
            },
            groceries_at: None,
            pharmacy_groceries: None,
            friends,
            own_account: dice.digits(4),
            own_transfer: if dice.chance(0.5) { "savings_deposit" } else { "transfer_out" },
        };
        if dice.chance(0.25) {
            account.groceries_at = catalog.shops("department_store", false).first().copied();
        }
        if dice.chance(0.3) {
            account.pharmacy_groceries = catalog.shops("pharmacy", false).first().copied();
        }
        account.recurring = if account.main { account.bills(dice) } else { account.subscriptions(dice) };
        account
    }

    fn price(&self) -> f64 {
        self.catalog.land.price
    }

    fn cents(&self, low: f64, high: f64, dice: &mut Dice) -> u64 {
        dice.amount(low * self.price(), high * self.price())
    }

    /// A bill of one of the category's companies; the big ones have the most customers.
    fn company(
        &self,
        category: &'static str,
        (low, high): (f64, f64),
        varies: f64,
        dice: &mut Dice,
    ) -> Option<Recurring> {
        let companies = self.catalog.shops(category, false);
        let name = companies.get(dice.zipf(companies.len()))?.name.clone();
        Some(self.bill(category, &name, (low, high), varies, dice))
    }

    fn bill(
        &self,
        category: &'static str,
        name: &str,
        (low, high): (f64, f64),
        varies: f64,
        dice: &mut Dice,
    ) -> Recurring {
        let digits = 6 + dice.below(4);
        let reference = dice.digits(digits);
        Recurring {
            category,
            descriptor: self.bank.bill(&self.catalog.land, name, &reference),
            cents: self.cents(low, high, dice),
            varies,
            credit: false,
            day: 1 + dice.below(28) as u32,
        }
    }

    fn subscriptions(&self, dice: &mut Dice) -> Vec<Recurring> {
        let mut list = Vec::new();
        for (category, odds, low, high) in [
            ("streaming_and_video", 0.75, 6.0, 22.0),
            ("streaming_and_video", 0.3, 6.0, 18.0),
            ("music_and_audio", 0.5, 8.0, 17.0),
            ("software_and_apps", 0.35, 3.0, 30.0),
            ("gym_and_fitness", 0.3, 15.0, 70.0),
            ("books_and_news", 0.12, 5.0, 25.0),
            ("donations", 0.15, 5.0, 60.0),
        ] {
            if dice.chance(odds) {
                list.extend(self.company(category, (low, high), 0.0, dice));
            }
        }
        // App stores bill everything under one text: what it was for is the household's matter.
        if dice.chance(0.45) {
            let (category, low, high) = dice.pick(&[
                ("software_and_apps", 0.99, 4.0),
                ("music_and_audio", 9.0, 13.0),
                ("streaming_and_video", 6.0, 15.0),
                ("video_games", 4.0, 9.0),
            ]);
            let descriptor =
                dice.pick(&["APPLE.COM/BILL", "APPLE.COM/BILL", "GOOGLE *SERVICES", "PAYPAL *GOOGLE"]).to_owned();
            list.push(Recurring {
                category,
                descriptor,
                cents: self.cents(low, high, dice),
                varies: 0.0,
                credit: false,
                day: 1 + dice.below(28) as u32,
            });
        }
        if self.pets && dice.chance(0.3) {
            list.push(Recurring {
                category: "pet_supplies",
                descriptor: marketplace(self.catalog.land.code).to_owned(),
                cents: self.cents(20.0, 60.0, dice),
                varies: 0.0,
                credit: false,
                day: 1 + dice.below(28) as u32,
            });
        }
        if !self.main {
            list.push(Recurring {
                category: "credit_card_payment",
                descriptor: of_list(CARD_PAID, self.catalog.land.code).to_owned(),
                cents: self.cents(150.0, 1_900.0, dice),
                varies: 0.4,
                credit: true,
                day: 1 + dice.below(28) as u32,
            });
        }
        list
    }

    fn bills(&self, dice: &mut Dice) -> Vec<Recurring> {
        let land = &self.catalog.land;
        let mut list = self.subscriptions(dice);
        let employer = dice.pick(EMPLOYERS);
        let (category, descriptor) = match dice.below(20) {
            0..15 => ("salary", payroll(land.code, employer, dice)),
            15 => ("gig_income", format!("{} PAYOUT", dice.pick(&["UBER", "DELIVEROO", "FIVERR", "UPWORK", "ETSY"]))),
            16 => ("government_benefit", of_list(BENEFIT, land.code).to_owned()),
            _ => ("pension_income", of_list(PENSION, land.code).to_owned()),
        };
        let varies = if category == "gig_income" { 0.5 } else { 0.02 };
        let pay = self.cents(1_300.0, 5_200.0, dice);
        let day = 24 + dice.below(5) as u32;
        list.push(Recurring { category, descriptor, cents: pay, varies, credit: true, day });
        // The roof: a landlord who is a person, a company, or the bank.
        match dice.below(10) {
            0..3 => {
                let landlord = person(land.language, dice);
                let descriptor = self.bank.person(land, &landlord, true, dice);
                list.push(Recurring { descriptor, ..self.bill("rent", "", (600.0, 2_100.0), 0.0, dice) });
            }
            3..6 => list.extend(self.company("rent", (650.0, 2_300.0), 0.0, dice)),
            6..9 => {
                let descriptor = format!("{} {}", of_list(LOAN, land.code), dice.digits(7));
                list.push(Recurring { descriptor, ..self.bill("mortgage_payment", "", (700.0, 2_600.0), 0.0, dice) });
            }
            _ => {}
        }
        for (category, odds, low, high) in [
            ("car_loan_payment", if self.car { 0.35 } else { 0.0 }, 180.0, 650.0),
            ("student_loan_payment", 0.2, 60.0, 380.0),
            ("personal_loan_payment", 0.15, 60.0, 420.0),
        ] {
            if dice.chance(odds) {
                // The bank's own loans read alike: the amount and the account tell them apart.
                let descriptor = format!("{} {}", of_list(LOAN, land.code), dice.digits(7));
                list.push(Recurring { descriptor, ..self.bill(category, "", (low, high), 0.0, dice) });
            }
        }
        for (category, odds, low, high, varies) in [
            ("electricity_and_gas", 0.85, 35.0, 190.0, 0.3),
            ("water_and_waste", 0.4, 18.0, 80.0, 0.1),
            ("internet_and_tv", 0.35, 25.0, 95.0, 0.0),
            ("telephone", 0.4, 12.0, 80.0, 0.05),
            ("vehicle_insurance", if self.car { 0.3 } else { 0.0 }, 40.0, 180.0, 0.0),
            ("home_insurance", 0.2, 9.0, 70.0, 0.0),
            ("health_and_life_insurance", 0.4, 18.0, 220.0, 0.0),
            ("other_insurance", 0.15, 6.0, 50.0, 0.0),
            ("savings_deposit", 0.2, 20.0, 400.0, 0.0),
            ("investment_contribution", 0.25, 25.0, 500.0, 0.0),
            ("childcare", if self.kids { 0.4 } else { 0.0 }, 150.0, 1_100.0, 0.05),
            ("personal_loan_payment", 0.12, 20.0, 140.0, 0.0),
            ("membership_dues", 0.12, 8.0, 45.0, 0.0),
        ] {
            if dice.chance(odds) {
                list.extend(self.company(category, (low, high), varies, dice));
            }
        }
        for (category, odds, low, high) in [("internet_and_tv", 0.45, 28.0, 95.0), ("telephone", 0.45, 15.0, 85.0)] {
            if dice.chance(odds) {
                let name = dice.pick(of_list(TELCOS, land.code));
                list.push(self.bill(category, name, (low, high), 0.03, dice));
            }
        }
        for (category, odds, low, high) in [
            ("vehicle_insurance", if self.car { 0.6 } else { 0.0 }, 45.0, 190.0),
            ("home_insurance", 0.35, 9.0, 65.0),
            ("health_and_life_insurance", 0.2, 15.0, 120.0),
            ("other_insurance", 0.1, 6.0, 50.0),
        ] {
            if dice.chance(odds) {
                let name = dice.pick(of_list(INSURERS, land.code));
                list.push(self.bill(category, name, (low, high), 0.0, dice));
            }
        }
        if self.kids && dice.chance(0.3) {
            let sitter = person(land.language, dice);
            let descriptor = self.bank.person(land, &sitter, true, dice);
            list.push(Recurring { descriptor, ..self.bill("childcare", "", (60.0, 260.0), 0.1, dice) });
        }
        if dice.chance(0.06) {
            let other = person(land.language, dice);
            let descriptor = self.bank.person(land, &other, true, dice);
            list.push(Recurring { descriptor, ..self.bill("family_support", "", (150.0, 700.0), 0.0, dice) });
        }
        if dice.chance(0.07) {
            let tenant = person(land.language, dice);
            let descriptor = self.bank.person(land, &tenant, false, dice);
            list.push(Recurring {
                descriptor,
                credit: true,
                ..self.bill("other_income", "", (300.0, 900.0), 0.0, dice)
            });
        }
        if dice.chance(0.6) {
            let descriptor = of_list(CARD_BILL, land.code).to_owned();
            list.push(Recurring { descriptor, ..self.bill("credit_card_payment", "", (120.0, 1_700.0), 0.4, dice) });
        }
        if dice.chance(0.5) {
            let descriptor = format!("{} {}", of_list(TO_OWN, land.code), self.own_account);
            list.push(Recurring { descriptor, ..self.bill(self.own_transfer, "", (50.0, 700.0), 0.0, dice) });
        }
        list
    }
}

/// How the big marketplace signs its purchases.
pub(super) fn marketplace(country: &str) -> &'static str {
    match country {
        "US" => "AMZN MKTP US",
        "CA" => "AMZN MKTP CA",
        "GB" => "AMZNMKTPLACE",
        "DE" => "AMZN MKTP DE",
        _ => "AMAZON PAYMENTS",
    }
}

fn payroll(country: &str, employer: &str, dice: &mut Dice) -> String {
    let employer = employer.to_uppercase();
    match country {
        "US" => format!("{employer} PAYROLL PPD ID: {}", dice.digits(8)),
        "CA" => format!("PAYROLL DEPOSIT {employer}"),
        "GB" => format!("{employer} SALARY BGC"),
        "DE" => format!("LOHN GEHALT {employer}"),
        _ => format!("VIR SALAIRE {employer}"),
    }
}

const CARD_PAID: &[(&str, &str)] = &[
    ("US", "PAYMENT THANK YOU"),
    ("CA", "PAYMENT - THANK YOU / PAIEMENT - MERCI"),
    ("GB", "PAYMENT RECEIVED - THANK YOU"),
    ("DE", "ZAHLUNG - VIELEN DANK"),
    ("FR", "VOTRE PAIEMENT - MERCI"),
];
const CARD_BILL: &[(&str, &str)] = &[
    ("US", "CREDIT CARD PAYMENT EPAY"),
    ("CA", "VISA BILL PYMT"),
    ("GB", "CREDIT CARD DD"),
    ("DE", "KREDITKARTENABRECHNUNG"),
    ("FR", "DEBIT DIFFERE CARTE"),
];
const LOAN: &[(&str, &str)] = &[
    ("US", "LOAN PAYMENT"),
    ("CA", "LN PYMT"),
    ("GB", "LOAN REPAYMENT"),
    ("DE", "DARLEHEN RATE"),
    ("FR", "ECHEANCE PRET"),
];
const BENEFIT: &[(&str, &str)] = &[
    ("US", "SSA TREAS 310 XXSOC SEC"),
    ("CA", "CANADA EI / CCB DEPOSIT"),
    ("GB", "DWP UNIVERSAL CREDIT"),
    ("DE", "BUNDESAGENTUR FUER ARBEIT LEISTUNG"),
    ("FR", "VIR CAF ALLOCATIONS"),
];
const PENSION: &[(&str, &str)] = &[
    ("US", "TRUSTEES RETIREMENT PLAN PENSION"),
    ("CA", "CANADA CPP OAS"),
    ("GB", "STATE PENSION DWP"),
    ("DE", "DEUTSCHE RENTENVERSICHERUNG RENTE"),
    ("FR", "VIR CNAV RETRAITE"),
];
pub(super) const TO_OWN: &[(&str, &str)] = &[
    ("US", "ONLINE TRANSFER TO ACCT"),
    ("CA", "TFR-TO C/C"),
    ("GB", "TRANSFER TO"),
    ("DE", "UEBERTRAG AUF KONTO"),
    ("FR", "VIREMENT VERS COMPTE"),
];
pub(super) const FROM_OWN: &[(&str, &str)] = &[
    ("US", "ONLINE TRANSFER FROM ACCT"),
    ("CA", "TFR-FR"),
    ("GB", "TRANSFER FROM"),
    ("DE", "UEBERTRAG VON KONTO"),
    ("FR", "VIREMENT DE COMPTE"),
];
