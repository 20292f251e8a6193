//! Descriptors: a table of hard cases, and what holds for any text.

use proptest::prelude::*;
use txcat::domain::{Descriptor, InvalidDescriptor, descriptor::MAX_CHARS};
use unicode_normalization::char::is_combining_mark;

/// One case a line: text, merchant, key, parts as `name=value`. `\t` and `\u{…}` stand for what can't be seen.
const TABLE: &str = include_str!("descriptors.tsv");

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix("u{") {
            let (code, after) = after.split_once('}').unwrap();
            plain.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
            rest = after;
        } else {
            plain.push('\t');
            rest = rest.strip_prefix('t').unwrap();
        }
    }
    plain + rest
}

fn parts(descriptor: &Descriptor) -> String {
    let date = descriptor.date().map(|date| {
        let year = date.year.map_or_else(|| "*".to_owned(), |year| year.to_string());
        format!("{year}-{:02}-{:02}", date.month, date.day)
    });
    let place = descriptor.place().cloned().unwrap_or_default();
    let owned = |part: Option<&str>| part.map(str::to_owned);
    let parts = [
        ("processor", owned(descriptor.processor())),
        ("store", owned(descriptor.store_number())),
        ("order", owned(descriptor.order_code())),
        ("phone", owned(descriptor.phone())),
        ("card", owned(descriptor.masked_card())),
        ("date", date),
        ("city", place.city),
        ("region", place.region),
        ("country", place.country),
    ];
    let told = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    told.collect::<Vec<_>>().join("; ")
}

#[test]
fn hard_cases_come_apart_as_the_table_says() {
    let mut wrong = Vec::new();
    let cases: Vec<&str> = TABLE.lines().collect();
    assert!(cases.len() >= 150, "the table has shrunk to {}", cases.len());
    for case in cases {
        let fields: Vec<&str> = case.split('\t').collect();
        let [text, merchant, key, told] = fields[..] else { panic!("not four fields: {case}") };
        let descriptor = Descriptor::parse(&unescape(text)).unwrap();
        let found = (descriptor.merchant(), descriptor.key().as_str(), parts(&descriptor));
        if found != (merchant, key, told.to_owned()) {
            wrong.push(format!("{text}\n  expected {:?}\n  found    {found:?}", (merchant, key, told)));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn texts_of_one_merchant_share_a_key_and_others_do_not() {
    let same: &[&[&str]] = &[
        &["SCHOLAR S CHOICE", "SCHOLAR'S CHOICE", "Scholar’s Choice #12"],
        &["CDN TIRE STORE #00654", "CDN TIRE STORE #00070"],
        &["UBER TRIP AMYCG HELP.U", "UBER SRMOX HELP.UBER.C", "UBER   *TRIP HELP.UBER.COM"],
        &["AMZN MKTP CA*M004R72E2", "AMAZON.CA*MX12A4BC0 AMAZON.CA", "AMAZON MKTPLACE PMTS W"],
        &["SQ *BLUE BOTTLE COFFEE", "TST* BLUE BOTTLE COFFEE", "BLUE BOTTLE COFFEE 042"],
        &["D & G VACUUM REPAIR", "D G VACUUM REPAIR", "D AND G VACUUM REPAIR"],
        &["CAFÉ DE FLORE PARIS FRA", "CAFE DE FLORE"],
    ];
    let keys: Vec<Vec<String>> = same
        .iter()
        .map(|texts| texts.iter().map(|text| Descriptor::parse(text).unwrap().key().to_string()).collect())
        .collect();
    for group in &keys {
        assert!(group.iter().all(|key| *key == group[0]), "{group:?}");
    }
    for (index, group) in keys.iter().enumerate() {
        assert!(keys[..index].iter().all(|other| other[0] != group[0]), "{} stands twice", group[0]);
    }
    let key = |text| Descriptor::parse(text).unwrap().key().to_string();
    assert_ne!(key("UBER   *EATS"), key("UBER   *TRIP"));
    assert_ne!(key("THE UPS STORE 487"), key("UPS*1Z999AA10123456784"));
}

#[test]
fn empty_and_endless_texts_are_refused() {
    for text in ["", "   ", "\t\n", "\u{200b}\u{202e}", "\u{0}"] {
        assert_eq!(Descriptor::parse(text), Err(InvalidDescriptor::Empty), "{text:?}");
    }
    assert!(Descriptor::parse(&"é".repeat(MAX_CHARS)).is_ok());
    assert_eq!(Descriptor::parse(&"é".repeat(MAX_CHARS + 1)), Err(InvalidDescriptor::TooLong));
}

/// Words and marks that statement texts are made of, in any order: reaches more rules than random letters.
fn statement() -> impl Strategy<Value = String> {
    let words = [
        "SQ *",
        "TST* ",
        "PAYPAL *",
        "SP ",
        "APLPAY ",
        "UBER",
        "TRIP",
        "AMZN",
        "MKTP",
        "FACEBK",
        "GOOGLE *",
        "EB *",
        "THE",
        "AND",
        "&",
        "S",
        "O",
        "L",
        "INT",
        "STORE",
        "#",
        "#0042",
        "1234",
        "F1234",
        "MART0776",
        "M004R72E2",
        "800-555-0199",
        "+44 1635 33251",
        "12/05/2019",
        "24AUG",
        "05 MAY",
        "XXXX1234",
        "CARD",
        "REF",
        "TORONTO",
        "NEW YORK",
        "ON",
        "CA",
        "USA",
        "DE",
        "LTD",
        "LIMITED",
        "LIMI",
        "CO",
        "INC.",
        "WWW.SHOP.COM",
        "(KENNED",
        "QPS",
        "7",
        "ELEVEN",
        "2267730",
        "ONTARIO",
        "POS PURCHASE",
        "CARD PURCHASE",
        "HARDWARE",
        "CAFÉ",
        "O'NEIL",
        "*",
        "/",
        "-",
        "  ",
        "'",
        "ß",
        "İ",
        "ﬁ",
        "東京",
        "²",
        "_",
    ];
    proptest::collection::vec((prop::sample::select(words.to_vec()), any::<bool>()), 1..9).prop_map(|words| {
        let spaced = words.into_iter().map(|(word, blank)| if blank { format!("{word} ") } else { word.to_owned() });
        spaced.collect::<String>()
    })
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let Ok(descriptor) = Descriptor::parse(text) else { return Ok(()) };
    let key = descriptor.key().as_str();
    prop_assert!(!descriptor.raw().is_empty() && !descriptor.merchant().is_empty());
    prop_assert!(!descriptor.raw().chars().any(char::is_control));
    prop_assert!(descriptor.raw().chars().count() <= 512);
    for word in key.split(' ').filter(|_| !key.is_empty()) {
        prop_assert!(!word.is_empty(), "blanks in the key {key:?}");
        prop_assert!(word.starts_with(char::is_alphanumeric), "{key:?}");
        prop_assert!(word.chars().all(|c| c.is_alphanumeric() || is_combining_mark(c)), "{key:?}");
        prop_assert!(!word.chars().all(char::is_numeric), "a word of digits in {key:?}");
        prop_assert_eq!(word.to_lowercase(), word, "capitals");
    }
    // Cleaning and keys are fixed points.
    let again = Descriptor::parse(descriptor.raw()).unwrap();
    prop_assert_eq!(&again, &descriptor);
    if !key.is_empty() {
        let of_key = Descriptor::parse(key).unwrap();
        prop_assert_eq!(of_key.key().as_str(), key, "the key of a key");
    }
    let shouted = descriptor.raw().to_ascii_uppercase();
    if descriptor.raw().is_ascii() && shouted == descriptor.raw() {
        let padded = Descriptor::parse(&format!("  {shouted}\t")).unwrap();
        prop_assert_eq!(padded.key(), descriptor.key(), "white space around");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_parses_to_a_clean_stable_key(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_text_of_capitals_digits_and_marks_does_too(text in "[A-Z0-9 *#/.'&()_:-]{1,40}") {
        check(&text)?;
    }

    #[test]
    fn statement_like_texts_do_too(text in statement()) {
        check(&text)?;
    }

    #[test]
    fn store_numbers_and_order_codes_leave_the_key_alone(store in 10_u32..99_999, code in "[A-Z][0-9]{3}[A-Z]{2}[0-9][A-Z][0-9]") {
        let key = |text: String| Descriptor::parse(&text).unwrap().key().to_string();
        prop_assert_eq!(key(format!("GREEN VALLEY GROCERS #{store}")), "green valley grocers");
        prop_assert_eq!(key(format!("GREEN VALLEY GROCERS {store:05}")), "green valley grocers");
        prop_assert_eq!(key(format!("GREEN VALLEY*{code}")), "green valley");
        prop_assert_eq!(key(format!("SQ *GREEN VALLEY {code}")), "green valley");
    }
}
