//! A module imports only what `ARCHITECTURE.md` names, and whatever those may import.

use std::collections::{BTreeMap, BTreeSet};

use crate::source;

/// Who may import whom. `ARCHITECTURE.md` has the same table in words.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("config", &["domain"]),
    ("outbound", &[]),
    ("causes", &[]),
    ("spans", &[]),
    ("telemetry", &["outbound", "spans"]),
    ("signature", &[]),
    ("embedded", &["config"]),
    ("store", &["domain", "config"]),
    ("prompt", &["domain", "causes"]),
    ("llm", &["domain", "config", "outbound", "spans"]),
    ("spend", &["store", "llm", "clock"]),
    ("model", &["domain", "config", "outbound"]),
    ("access", &["store", "outbound"]),
    ("privacy", &["store"]),
    ("enrich", &["store", "model", "spans"]),
    ("categorize", &["prompt", "llm", "enrich"]),
    ("pipeline", &["store", "enrich", "categorize"]),
    ("evaluate", &["pipeline"]),
    ("cluster", &["evaluate", "causes"]),
    ("recategorize", &["evaluate", "causes"]),
    ("curate", &["evaluate", "causes"]),
    ("adapters", &["curate"]),
    ("finetune", &["curate", "llm", "prompt", "spend"]),
    ("review", &["curate"]),
    ("experiments", &["review"]),
    ("advise", &["curate"]),
    ("events", &["store", "outbound", "signature", "causes"]),
    ("jobs", &["recategorize", "events", "clock"]),
    ("web", &["domain"]),
    (
        "http",
        &[
            "adapters",
            "jobs",
            "signature",
            "finetune",
            "advise",
            "review",
            "web",
            "access",
            "privacy",
            "clock",
            "embedded",
            "telemetry",
        ],
    ),
    ("cli", &["http", "cluster", "experiments", "spend"]),
];

fn reachable() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, direct) in MAY_IMPORT {
        let mut may = BTreeSet::from([*module]);
        for import in *direct {
            may.extend(
                all.get(import).unwrap_or_else(|| panic!("`{import}` must stand above `{module}` in the table")),
            );
        }
        all.insert(module, may);
    }
    all
}

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let reachable = reachable();
    let mut broken = Vec::new();
    for source in source::all() {
        let Some(module) = source.module.first() else { continue };
        let may =
            reachable.get(module.as_str()).unwrap_or_else(|| panic!("`{module}` is not in the table of directions"));
        let named = source::named_modules(&source);
        let modules = named.iter().filter(|name| reachable.contains_key(name.as_str()));
        broken
            .extend(modules.filter(|name| !may.contains(name.as_str())).map(|name| format!("{}: {name}", source.path)));
    }
    assert!(broken.is_empty(), "imports against the direction:\n{}", broken.join("\n"));
}

#[test]
fn the_architecture_page_says_the_same() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md")).unwrap();
    for (module, direct) in MAY_IMPORT {
        let row = page.lines().find(|line| {
            let first = line.split('|').nth(1).unwrap_or_default();
            line.starts_with("| `") && first.contains(&format!("`{module}`"))
        });
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for `{module}` in its table of directions"));
        let said = row.split('|').nth(2).unwrap_or_default();
        let everything = said.contains("everything") || said.contains("all but");
        for import in *direct {
            assert!(
                everything || said.contains(&format!("`{import}`")),
                "ARCHITECTURE.md: `{module}` may import `{import}`"
            );
        }
    }
}
