//! Taxonomies: the consumer one that ships, and the rules that every one keeps.

use std::{collections::HashSet, path::Path};

use txcat::domain::{Slug, Taxonomy};

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

#[test]
fn the_consumer_taxonomy_groups_every_answer_under_a_described_primary() {
    let taxonomy = Taxonomy::consumer().unwrap();
    let primary: Vec<_> = taxonomy.categories().iter().filter(|category| category.parent.is_none()).collect();
    assert!((18..=21).contains(&primary.len()), "{} primary categories", primary.len());
    assert!((85..=110).contains(&taxonomy.assignable().len()), "{} to assign", taxonomy.assignable().len());
    for category in taxonomy.categories() {
        assert!(category.description.ends_with('.') && category.description.len() >= 20, "{}", category.slug);
    }
    for (index, category) in taxonomy.assignable().iter().enumerate() {
        assert!(category.parent.is_some(), "{} has no details", category.slug);
        assert!(category.pfc.is_some(), "{} maps to no personal finance category", category.slug);
        assert_eq!(taxonomy.index_of(&category.slug), Some(index));
    }
    let mut names: Vec<_> = taxonomy.categories().iter().map(|category| &category.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), taxonomy.categories().len(), "a name stands twice");
}

#[test]
fn a_merchant_category_code_means_one_category_or_none() {
    let taxonomy = Taxonomy::consumer().unwrap();
    let of = |code: &str| taxonomy.by_mcc(&code.parse().unwrap()).map(|category| category.slug.as_str());
    assert_eq!(of("5411"), Some("supermarket"));
    assert_eq!(of("3007"), Some("flights"));
    assert_eq!(of("3405"), Some("car_rental"));
    assert_eq!(of("3509"), Some("lodging"));
    assert_eq!(of("0742"), Some("veterinary"));
    assert_eq!(of("9950"), None);
    assert_eq!(of("0001"), None);
}

#[test]
fn the_consumer_taxonomy_agrees_with_the_reference_lists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/reference");
    let (Ok(mcc), Ok(pfc)) =
        (csv::Reader::from_path(folder.join("mcc_codes.csv")), csv::Reader::from_path(folder.join("pfc_v2.csv")))
    else {
        eprintln!("SKIPPED: {} is not here", folder.display());
        return;
    };
    let taxonomy = Taxonomy::consumer().unwrap();
    let column = |rows: csv::Reader<_>, index: usize| -> HashSet<String> {
        rows.into_records().map(|row| row.unwrap()[index].to_owned()).collect()
    };
    let pfc = column(pfc, 1);
    for category in taxonomy.assignable() {
        let named = category.pfc.as_ref().unwrap();
        assert!(pfc.contains(named), "{} names {named}", category.slug);
    }
    let codes = column(mcc, 0);
    let unclaimed: Vec<_> = codes.iter().filter(|code| taxonomy.by_mcc(&code.parse().unwrap()).is_none()).collect();
    assert!(unclaimed.len() <= 5, "of {} codes nobody claims {unclaimed:?}", codes.len());
}

#[test]
fn the_version_follows_the_content_and_not_the_layout() {
    let text = "name = 't'\n[[category]]\nslug = 'a'\nname = 'A'\ndescription = 'One.'\n\
                [[category]]\nslug = 'b'\nname = 'B'\ndescription = 'Two.'\n";
    let version = |text: &str| Taxonomy::from_toml(text).unwrap().version().to_owned();
    assert_eq!(version(text), version(&text.replace("[[", "# a word\n\n[[")));
    assert_ne!(version(text), version(&text.replace("Two.", "Three.")));
    assert!(version(text).starts_with("t@") && version(text).len() == 10);
    let csv = "category,description\na,One.\nb,Two.\n";
    let taxonomy = Taxonomy::from_categories_csv(csv.as_bytes(), "t").unwrap();
    assert_eq!(taxonomy.assignable().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(taxonomy.version(), version(text), "the same content from another file");
}

#[test]
fn every_broken_rule_is_named() {
    let category =
        |slug: &str, more: &str| format!("[[category]]\nslug = '{slug}'\nname = 'N'\ndescription = 'D.'\n{more}\n");
    let error = |categories: &[String]| {
        Taxonomy::from_toml(&format!("name = 't'\n{}", categories.concat())).unwrap_err().to_string()
    };
    let plain = category("a", "");
    assert!(error(std::slice::from_ref(&plain)).contains("at least two"));
    let many: Vec<String> = (0..4_097).map(|n| category(&format!("c{n}"), "")).collect();
    assert!(error(&many).contains("may have 4096 assignable categories, and this has 4097"));
    assert!(error(&[plain.clone(), plain.clone()]).contains("`a` stands twice"));
    assert!(error(&[plain.clone(), category("b", "parent = 'c'")]).contains("parent `c`"));
    let detail = category("b", "parent = 'a'");
    assert!(error(&[plain.clone(), detail.clone(), category("c", "parent = 'b'")]).contains("parent `b`"));
    assert!(error(&[category("a", "mcc = ['5411']"), detail, category("c", "")]).contains("details of its own"));
    assert!(error(&[category("a", "mcc = ['5411']"), category("b", "mcc = ['5400-5420']")]).contains("5400-5420"));
    for mcc in ["541", "54111", "x411", "5420-5411", "5411-"] {
        assert!(error(&[category("a", &format!("mcc = ['{mcc}']")), category("b", "")]).contains(mcc));
    }
    assert!(error(&[category("a", "pfc = 'food'"), category("b", "")]).contains("`food`"));
    assert!(error(&[category("a", "colour = 'red'"), category("b", "")]).contains("can't be read"));
    assert!(error(&[plain.replace("'D.'", "' '"), category("b", "")]).contains("description of `a`"));
    assert!("a".parse::<Slug>().is_ok() && "A".parse::<Slug>().is_err() && "".parse::<Slug>().is_err());
    assert!(Taxonomy::consumer().unwrap().contains(&slug("rent")));
    assert!(!Taxonomy::consumer().unwrap().contains(&slug("housing")), "a primary with details is no answer");
    assert!(Taxonomy::consumer().unwrap().get(&slug("housing")).is_some());
}
