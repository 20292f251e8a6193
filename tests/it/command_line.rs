//! The command line as a whole: what every command must have in common.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use serde_json::Value;
use txcat::cli::Cli;

use crate::harness::{Run as _, txcat};

/// Every flag that each command takes, by the words that lead to the command.
fn flags(command: &clap::Command, path: &str, all: &mut BTreeMap<String, Vec<String>>) {
    let own = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned)).collect();
    all.insert(path.to_owned(), own);
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        flags(below, &format!("{path} {}", below.get_name()), all);
    }
}

#[test]
fn no_command_hides_a_setting_that_all_share() {
    let mut root = Cli::command();
    let shared: Vec<String> = root
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .collect();
    assert!(shared.len() >= 8, "{shared:?}");
    root.build();
    let mut all = BTreeMap::new();
    flags(&root, "txcat", &mut all);
    for (path, own) in all {
        let hidden: Vec<&String> = shared.iter().filter(|flag| !own.contains(flag)).collect();
        assert!(hidden.is_empty(), "`{path}` hides {hidden:?}: an argument of it has the same name in code");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_is_as_if_it_were_not_set() {
    let empty = ["TXCAT_TLS_CERTIFICATE", "TXCAT_PRECISION", "TXCAT_OIDC_ISSUER", "TXCAT_PUBLIC_URL", "TXCAT_STAGE"];
    let said = txcat(&["serve", "--bind", "nowhere"]).envs(empty.map(|name| (name, ""))).run().refused(2);
    assert!(said.contains("'nowhere'") && !empty.iter().any(|name| said.contains(name)), "{said}");
}

#[test]
fn merchants_and_encoders_are_told_to_machines_too() {
    let found = txcat(&["merchants", "search", "starbucks", "--shipped", "--limit", "1", "--json"]).run().json();
    let first = &found["merchants"][0];
    assert!(found["found"].as_u64() > Some(1) && first["id"].as_str().unwrap().starts_with("starbucks"), "{found}");
    let explained = txcat(&["merchants", "explain", "STARBUCKS #1234", "--shipped", "--json"]).run().json();
    let best = &explained["candidates"][0];
    assert_eq!((&explained["accepted"], &best["how"]), (&best["merchant"]["id"], &"exact".into()), "{explained}");
    let none = txcat(&["merchants", "explain", "998877", "--shipped", "--json"]).run().json();
    assert_eq!((&none["accepted"], &none["candidates"]), (&Value::Null, &Value::Array(Vec::new())));
    let models = txcat(&["models", "list", "--json"]).run().json();
    assert_eq!(models["encoders"][0]["name"], "all-MiniLM-L6-v2");
}

#[test]
fn a_database_that_has_no_address_is_told_in_one_sentence() {
    for address in ["garbage", "mysql://localhost/rows"] {
        let said = txcat(&["keys", "list"]).on(address).run().refused(1);
        assert!(said.contains("its address must be postgres://USER:PASSWORD@HOST:PORT/NAME"), "{said}");
    }
}

#[cfg(not(feature = "cluster"))]
#[test]
fn a_build_without_the_cluster_says_which_one_reads_folders() {
    let said = txcat(&["recategorize", "--from", "rows", "--to", "answers"]).run().refused(1);
    assert!(said.contains("build it with `--features cluster`"), "{said}");
}
