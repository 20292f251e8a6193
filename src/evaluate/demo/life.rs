//! What an account does in a month: bills that come by themselves, and purchases by purpose.
//!
//! The purpose comes first and is the label; where and how much follow from it. So a text that
//! serves several purposes (a fuel station's shop, the big marketplace, a transfer to a person) is
//! ambiguous for the reason it is in life, and the amount and the account's own past resolve it.

use chrono::{Datelike, Days, NaiveDate};

use super::{
    Row,
    catalog::{Reach, Shop},
    dice::Dice,
    people::{Account, FROM_OWN, TO_OWN, marketplace, of_list, person},
    shapes::{Visit, capitals},
};

/// Purchases a month of an average account, and what one costs.
struct Purpose(&'static str, f64, f64, f64);

const PURPOSES: &[Purpose] = &[
    Purpose("supermarket", 3.2, 6.0, 150.0),
    Purpose("specialty_food", 0.6, 3.0, 45.0),
    Purpose("convenience_store", 0.9, 2.0, 19.0),
    Purpose("liquor_store", 0.4, 8.0, 75.0),
    Purpose("tobacco_and_vape", 0.18, 7.0, 60.0),
    Purpose("restaurant", 1.3, 13.0, 115.0),
    Purpose("fast_food", 1.5, 5.0, 33.0),
    Purpose("coffee_shop", 1.4, 2.0, 14.0),
    Purpose("bar_and_nightlife", 0.45, 6.0, 75.0),
    Purpose("food_delivery", 0.5, 13.0, 62.0),
    Purpose("online_marketplace", 0.9, 6.0, 150.0),
    Purpose("department_store", 0.55, 10.0, 180.0),
    Purpose("discount_store", 0.4, 3.0, 45.0),
    Purpose("clothing_and_shoes", 0.6, 12.0, 190.0),
    Purpose("electronics", 0.2, 12.0, 900.0),
    Purpose("books_and_news", 0.22, 5.0, 60.0),
    Purpose("office_supplies", 0.12, 4.0, 85.0),
    Purpose("sporting_goods", 0.2, 10.0, 260.0),
    Purpose("hobbies_toys_and_crafts", 0.22, 6.0, 120.0),
    Purpose("gifts_and_flowers", 0.2, 8.0, 90.0),
    Purpose("other_shopping", 0.14, 5.0, 90.0),
    Purpose("furniture_and_decor", 0.2, 12.0, 900.0),
    Purpose("hardware_and_building", 0.32, 5.0, 260.0),
    Purpose("garden", 0.14, 8.0, 180.0),
    Purpose("home_repair", 0.09, 60.0, 900.0),
    Purpose("cleaning_and_pest_control", 0.07, 35.0, 220.0),
    Purpose("moving_and_storage", 0.1, 35.0, 420.0),
    Purpose("fuel", 1.5, 16.0, 110.0),
    Purpose("parking", 0.6, 1.5, 28.0),
    Purpose("tolls", 0.2, 1.5, 35.0),
    Purpose("vehicle_repair", 0.2, 12.0, 900.0),
    Purpose("vehicle_parts", 0.1, 7.0, 240.0),
    Purpose("vehicle_purchase", 0.08, 700.0, 9_000.0),
    Purpose("public_transport", 0.75, 2.0, 95.0),
    Purpose("taxi_and_ride_hailing", 0.45, 6.0, 55.0),
    Purpose("train_and_coach", 0.2, 7.0, 140.0),
    Purpose("flights", 0.09, 50.0, 900.0),
    Purpose("lodging", 0.18, 45.0, 700.0),
    Purpose("car_rental", 0.06, 35.0, 420.0),
    Purpose("travel_agency", 0.1, 50.0, 1_800.0),
    Purpose("streaming_and_video", 0.05, 3.0, 20.0),
    Purpose("video_games", 0.2, 2.0, 85.0),
    Purpose("cinema_and_events", 0.28, 8.0, 140.0),
    Purpose("attractions", 0.1, 7.0, 120.0),
    Purpose("sports_and_recreation", 0.17, 7.0, 120.0),
    Purpose("gambling", 0.15, 2.0, 60.0),
    Purpose("pharmacy", 0.55, 4.0, 80.0),
    Purpose("doctor", 0.18, 20.0, 260.0),
    Purpose("dentist", 0.09, 35.0, 700.0),
    Purpose("eye_care", 0.07, 35.0, 420.0),
    Purpose("hospital_and_care", 0.06, 15.0, 500.0),
    Purpose("hair_and_beauty", 0.34, 9.0, 120.0),
    Purpose("gym_and_fitness", 0.08, 8.0, 60.0),
    Purpose("laundry", 0.12, 5.0, 60.0),
    Purpose("childcare", 0.2, 25.0, 400.0),
    Purpose("school_and_tuition", 0.05, 60.0, 2_500.0),
    Purpose("courses", 0.1, 10.0, 240.0),
    Purpose("family_support", 0.04, 20.0, 600.0),
    Purpose("pet_supplies", 0.7, 7.0, 120.0),
    Purpose("veterinary", 0.17, 35.0, 500.0),
    Purpose("legal_and_consulting", 0.07, 80.0, 1_500.0),
    Purpose("accounting_and_finance", 0.06, 20.0, 400.0),
    Purpose("postage_and_shipping", 0.17, 2.0, 60.0),
    Purpose("software_and_apps", 0.16, 3.0, 70.0),
    Purpose("other_services", 0.1, 8.0, 150.0),
    Purpose("donations", 0.12, 5.0, 120.0),
    Purpose("membership_dues", 0.04, 15.0, 160.0),
    Purpose("government_services", 0.1, 8.0, 220.0),
    Purpose("taxes", 0.16, 60.0, 1_900.0),
    Purpose("account_fee", 0.2, 2.0, 18.0),
    Purpose("overdraft_fee", 0.07, 4.0, 40.0),
    Purpose("interest_charge", 0.1, 1.0, 70.0),
    Purpose("cash_withdrawal", 0.45, 20.0, 300.0),
    Purpose("cash_deposit", 0.09, 20.0, 600.0),
    Purpose("payment_to_person", 0.55, 5.0, 240.0),
    Purpose("payment_from_person", 0.45, 5.0, 220.0),
    Purpose("transfer_in", 0.2, 50.0, 1_200.0),
    Purpose("transfer_out", 0.12, 40.0, 900.0),
    Purpose("savings_withdrawal", 0.1, 60.0, 1_400.0),
    Purpose("gig_income", 0.08, 40.0, 900.0),
    Purpose("interest_income", 0.12, 0.5, 40.0),
    Purpose("tax_refund", 0.15, 60.0, 1_600.0),
    Purpose("other_income", 0.03, 20.0, 500.0),
    Purpose("loan_received", 0.1, 300.0, 6_000.0),
    Purpose("uncategorized", 0.08, 3.0, 300.0),
];

/// Purchases are thinned by this, so that the pool reaches back far enough for a bill to come thrice.
const PACE: f64 = 0.55;

/// Amounts that machines and people round to tens.
const ROUND: &[&str] = &["cash_withdrawal", "cash_deposit", "donations", "savings_withdrawal", "loan_received"];

/// Only a current account does these.
const MAIN_ONLY: &[&str] = &[
    "taxes",
    "overdraft_fee",
    "cash_deposit",
    "payment_to_person",
    "payment_from_person",
    "transfer_in",
    "transfer_out",
    "savings_withdrawal",
    "gig_income",
    "interest_income",
    "tax_refund",
    "other_income",
    "loan_received",
];
/// Money that comes in.
const CREDITS: &[&str] = &[
    "cash_deposit",
    "payment_from_person",
    "transfer_in",
    "savings_withdrawal",
    "gig_income",
    "interest_income",
    "tax_refund",
    "other_income",
    "loan_received",
];

/// All rows of an account in one month, unsorted. With `late`, the shops that opened after the training period.
pub(super) fn month<'a>(account: &mut Account<'a>, first: NaiveDate, late: bool, dice: &mut Dice) -> Vec<Row> {
    let mut rows = Vec::new();
    let days = first.num_days_in_month() as usize;
    let day = |dice: &mut Dice| first + Days::new(dice.below(days) as u64);
    if !late {
        for bill in &account.recurring {
            let on = first.with_day(bill.day).unwrap_or(first) + Days::new(dice.below(3) as u64);
            let varied = bill.cents as f64 * (1.0 + bill.varies * (2.0 * dice.unit() - 1.0));
            rows.push(Row {
                day: on,
                account: account.id.clone(),
                merchant: bill.descriptor.clone(),
                descriptor: bill.descriptor.clone(),
                cents: (varied as u64).max(1),
                credit: bill.credit,
                currency: account.catalog.land.currency,
                category: bill.category,
            });
        }
    }
    for Purpose(category, mean, low, high) in PURPOSES {
        let factor = account.appetite(category, dice);
        for _ in 0..dice.about(mean * PACE * factor) {
            let on = day(dice);
            if let Some((merchant, descriptor)) = account.spend(category, on, late, dice) {
                let price = account.catalog.land.price;
                let cents = dice.amount(low * price, high * price);
                let cents = if ROUND.contains(category) { (cents / 1_000).max(1) * 1_000 } else { cents };
                let refund = !CREDITS.contains(category) && is_goods(category) && dice.chance(0.015);
                let row = Row {
                    day: on,
                    account: account.id.clone(),
                    merchant,
                    descriptor,
                    cents: cents.max(50),
                    credit: refund || CREDITS.contains(category),
                    currency: account.catalog.land.currency,
                    category,
                };
                rows.push(row);
            }
        }
    }
    rows.retain(|row| row.day >= account.from);
    rows
}

fn is_goods(category: &str) -> bool {
    matches!(
        category,
        "clothing_and_shoes"
            | "electronics"
            | "online_marketplace"
            | "furniture_and_decor"
            | "hardware_and_building"
            | "department_store"
            | "sporting_goods"
    )
}

impl<'a> Account<'a> {
    /// How much of a category this household has, against the average; drawn once.
    fn appetite(&mut self, category: &'static str, dice: &mut Dice) -> f64 {
        let none = match category {
            "fuel" | "parking" | "tolls" | "vehicle_repair" | "vehicle_parts" | "vehicle_purchase" => !self.car,
            "pet_supplies" | "veterinary" => !self.pets,
            "childcare" => !self.kids,
            _ => !self.main && MAIN_ONLY.contains(&category),
        };
        if none {
            return 0.0;
        }
        // Most have little of a thing, some have much: habits.
        *self.taste.entry(category).or_insert_with(|| {
            if dice.chance(0.35) { 0.15 } else { 0.4 + 2.2 * dice.unit() * dice.unit() + 0.6 * dice.unit() }
        })
    }

    /// Where the household goes for a category: mostly to its few favourites.
    fn shop(&mut self, category: &'static str, late: bool, dice: &mut Dice) -> Option<&'a Shop> {
        let open = self.catalog.shops(category, late);
        if open.is_empty() {
            return None;
        }
        let home = self.home;
        let near = |shop: &&&Shop| !matches!(shop.reach, Reach::Local(_)) || shop.city == home;
        if late || dice.chance(0.22) {
            return Some(open[dice.zipf(open.len())]);
        }
        let favourites = self.favourites.entry(category).or_insert_with(|| {
            let around: Vec<&Shop> = open.iter().filter(near).copied().collect();
            let around = if around.is_empty() { open } else { around };
            (0..4).map(|_| around[dice.zipf(around.len())]).collect()
        });
        Some(favourites[dice.zipf(favourites.len())])
    }

    /// Merchant and text of one purchase; `None` where no shop of the kind is open.
    fn spend(
        &mut self,
        category: &'static str,
        day: NaiveDate,
        late: bool,
        dice: &mut Dice,
    ) -> Option<(String, String)> {
        if !late {
            if let Some(line) = self.bank_line(category, dice) {
                return Some((line.clone(), line));
            }
            match self.elsewhere(category, dice) {
                Some(Elsewhere::Line(line)) => return Some((line.clone(), line)),
                Some(Elsewhere::At(shop)) => return Some((shop.name.clone(), self.visit(shop, day, dice))),
                None => {}
            }
        }
        let shop = self.shop(category, late, dice)?;
        let line = if shop.name == "Uber" && dice.chance(0.3) {
            "UBER *HELP.UBER.COM".to_owned()
        } else if matches!(shop.reach, Reach::Local(_)) && dice.chance(0.02) {
            self.bank.person(&self.catalog.land, &shop.name, true, dice)
        } else {
            self.visit(shop, day, dice)
        };
        Some((shop.name.clone(), line))
    }

    fn visit(&self, shop: &Shop, day: NaiveDate, dice: &mut Dice) -> String {
        let cities = &self.catalog.land.cities;
        let away = dice.chance(0.15);
        let city = cities[if away { dice.below(cities.len()) } else { self.home }];
        // The same branch at home, any other one elsewhere.
        let branch = if away { 10 + dice.below(4_000) } else { self.branch + shop.name.len() * 7 };
        self.bank.purchase(&self.catalog.land, shop, Visit { day, city, branch }, dice)
    }

    /// A purpose served by a place that mostly serves another one.
    fn elsewhere(&mut self, category: &'static str, dice: &mut Dice) -> Option<Elsewhere<'a>> {
        match category {
            "convenience_store" if dice.chance(0.35) => self.shop("fuel", false, dice).map(Elsewhere::At),
            "supermarket" if dice.chance(0.55) => self.groceries_at.map(Elsewhere::At),
            "supermarket" if dice.chance(0.3) => self.pharmacy_groceries.map(Elsewhere::At),
            "fast_food" if dice.chance(0.06) => self.catalog.named("furniture_and_decor", "IKEA").map(Elsewhere::At),
            "food_delivery" if dice.chance(0.12) => Some(Elsewhere::Line("UBER *HELP.UBER.COM".to_owned())),
            "online_marketplace" | "books_and_news" | "office_supplies" | "hobbies_toys_and_crafts" | "electronics"
                if self.marketplace_is_for == category && dice.chance(0.6) =>
            {
                let name = marketplace(self.catalog.land.code);
                let line = if dice.chance(0.7) { format!("{name}*{}", dice.code(9)) } else { name.to_owned() };
                Some(Elsewhere::Line(line))
            }
            _ => None,
        }
    }

    /// Lines that the bank, the state or another person is behind.
    fn bank_line(&mut self, category: &'static str, dice: &mut Dice) -> Option<String> {
        let land = &self.catalog.land;
        let local = |lists: &'static [(&'static str, &'static [&'static str])], dice: &mut Dice| {
            dice.pick(of_list(lists, land.code)).to_owned()
        };
        Some(match category {
            "payment_to_person" | "payment_from_person" => {
                let name = if dice.chance(0.75) {
                    self.friends[dice.zipf(self.friends.len())].clone()
                } else {
                    person(land.language, dice)
                };
                self.bank.person(land, &name, category == "payment_to_person", dice)
            }
            "gig_income" => {
                let client = person(land.language, dice);
                if dice.chance(0.5) { self.bank.person(land, &client, false, dice) } else { "STRIPE PAYOUT".to_owned() }
            }
            "transfer_in" | "savings_withdrawal" => format!("{} {}", of_list(FROM_OWN, land.code), self.own_account),
            "transfer_out" if dice.chance(0.6) && self.own_transfer == "transfer_out" => {
                format!("{} {}", of_list(TO_OWN, land.code), self.own_account)
            }
            "cash_withdrawal" => {
                let city = capitals(land.cities[self.home].1, land);
                format!("{} {} {city}", local(CASH_OUT, dice), dice.digits(4))
            }
            "cash_deposit" => local(CASH_IN, dice),
            "account_fee" => local(FEE, dice),
            "overdraft_fee" => local(OVERDRAFT, dice),
            "interest_charge" => local(INTEREST, dice),
            "interest_income" => local(INTEREST_PAID, dice),
            "taxes" => local(TAX, dice),
            "tax_refund" => local(REFUND, dice),
            "government_services" => local(STATE, dice),
            "other_income" => local(WINDFALL, dice),
            "loan_received" => local(LOAN_PAID, dice),
            "uncategorized" => match dice.below(3) {
                0 => format!("ADJ {} {}", dice.digits(6), dice.code(5)),
                1 => format!("MISC {}", dice.code(10)),
                _ => format!("{} {}", dice.digits(4), dice.digits(8)),
            },
            _ => return None,
        })
    }
}

enum Elsewhere<'a> {
    At(&'a Shop),
    Line(String),
}

type Lines = &'static [(&'static str, &'static [&'static str])];

const CASH_OUT: Lines = &[
    ("US", &["ATM WITHDRAWAL", "NON-BANK ATM WITHDRAWAL"]),
    ("CA", &["ABM WITHDRAWAL", "CASH ADVANCE ABM"]),
    ("GB", &["CASH WITHDRAWAL LINK", "NOTEMACHINE CASH"]),
    ("DE", &["BARGELDAUSZAHLUNG GA NR", "GELDAUTOMAT"]),
    ("FR", &["RETRAIT DAB", "RETRAIT ESPECES"]),
];
const CASH_IN: Lines = &[
    ("US", &["ATM CASH DEPOSIT", "MOBILE CHECK DEPOSIT"]),
    ("CA", &["ABM DEPOSIT", "MOBILE CHEQUE DEPOSIT"]),
    ("GB", &["CASH PAID IN AT BRANCH", "CHEQUE IN"]),
    ("DE", &["BAREINZAHLUNG"]),
    ("FR", &["VERSEMENT ESPECES", "REMISE CHEQUE"]),
];
const FEE: Lines = &[
    ("US", &["MONTHLY SERVICE FEE", "FOREIGN TRANSACTION FEE", "NON-NETWORK ATM FEE"]),
    ("CA", &["MONTHLY PLAN FEE", "SERVICE CHARGE", "INTERAC ABM FEE"]),
    ("GB", &["ACCOUNT FEE", "NON-STERLING TRANSACTION FEE"]),
    ("DE", &["KONTOFUEHRUNGSENTGELT", "AUSLANDSEINSATZENTGELT"]),
    ("FR", &["COTISATION CARTE", "FRAIS TENUE DE COMPTE"]),
];
const OVERDRAFT: Lines = &[
    ("US", &["OVERDRAFT FEE", "NSF RETURNED ITEM FEE", "LATE FEE"]),
    ("CA", &["NSF FEE", "OVERDRAFT HANDLING FEE"]),
    ("GB", &["UNPAID ITEM FEE", "LATE PAYMENT CHARGE"]),
    ("DE", &["RUECKLASTSCHRIFTGEBUEHR", "MAHNGEBUEHR"]),
    ("FR", &["COMMISSION D INTERVENTION", "FRAIS REJET PRELEVEMENT"]),
];
const INTEREST: Lines = &[
    ("US", &["INTEREST CHARGE ON PURCHASES", "INTEREST CHARGED"]),
    ("CA", &["PURCHASE INTEREST", "OVERDRAFT INTEREST"]),
    ("GB", &["DEBIT INTEREST", "INTEREST ON PURCHASES"]),
    ("DE", &["SOLLZINSEN", "DISPOZINSEN"]),
    ("FR", &["INTERETS DEBITEURS", "AGIOS"]),
];
const INTEREST_PAID: Lines = &[
    ("US", &["INTEREST PAYMENT", "DIVIDEND PAYMENT", "CASHBACK REWARD"]),
    ("CA", &["INTEREST PAID", "DIVIDEND"]),
    ("GB", &["GROSS INTEREST", "DIVIDEND"]),
    ("DE", &["HABENZINSEN", "DIVIDENDENGUTSCHRIFT"]),
    ("FR", &["INTERETS CREDITEURS", "COUPONS DIVIDENDES"]),
];
const TAX: Lines = &[
    ("US", &["IRS USATAXPYMT", "COUNTY PROPERTY TAX"]),
    ("CA", &["CRA TAX OWED", "MUNICIPAL PROPERTY TAX"]),
    ("GB", &["HMRC SELF ASSESSMENT", "COUNCIL TAX DD"]),
    ("DE", &["FINANZAMT EINKOMMENSTEUER", "GRUNDSTEUER STADTKASSE"]),
    ("FR", &["PRLV DGFIP IMPOT", "TAXE FONCIERE DGFIP"]),
];
const REFUND: Lines = &[
    ("US", &["IRS TREAS 310 TAX REF", "STATE TAX REFUND"]),
    ("CA", &["CANADA TAX REFUND", "GST/HST CREDIT"]),
    ("GB", &["HMRC REPAYMENT"]),
    ("DE", &["FINANZAMT ERSTATTUNG"]),
    ("FR", &["DGFIP RESTITUTION IMPOT"]),
];
const STATE: Lines = &[
    ("US", &["DMV RENEWAL", "CITY PARKING FINE", "USCIS FEE", "PASSPORT SERVICES"]),
    ("CA", &["SERVICEONTARIO", "CITY PARKING VIOLATION", "PASSPORT CANADA"]),
    ("GB", &["DVLA VEHICLE TAX", "HM PASSPORT OFFICE", "PENALTY CHARGE NOTICE"]),
    ("DE", &["BUERGERAMT GEBUEHR", "BUSSGELDSTELLE", "KFZ ZULASSUNGSSTELLE"]),
    ("FR", &["AMENDES GOUV", "TIMBRE FISCAL ANTS", "MAIRIE REGIE"]),
];
const WINDFALL: Lines = &[
    ("US", &["CLASS ACTION SETTLEMENT", "STATE LOTTERY PRIZE"]),
    ("CA", &["SETTLEMENT PAYOUT", "ESTATE DISTRIBUTION"]),
    ("GB", &["ESTATE SETTLEMENT", "PREMIUM BONDS PRIZE"]),
    ("DE", &["ERBSCHAFT AUSZAHLUNG", "UNTERHALT"]),
    ("FR", &["SUCCESSION NOTAIRE", "PENSION ALIMENTAIRE RECUE"]),
];
const LOAN_PAID: Lines = &[
    ("US", &["LOAN PROCEEDS", "EARNIN ADVANCE"]),
    ("CA", &["LOAN ADVANCE", "PAYDAY LOAN DEPOSIT"]),
    ("GB", &["LOAN DRAWDOWN"]),
    ("DE", &["KREDITAUSZAHLUNG"]),
    ("FR", &["DEBLOCAGE PRET"]),
];
