//! The command line as a whole: what every command must have in common.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use txcat::cli::Cli;

#[cfg(not(feature = "cluster"))]
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

#[cfg(not(feature = "cluster"))]
#[test]
fn a_build_without_the_cluster_says_which_one_reads_folders() {
    let said = txcat(&["recategorize", "--from", "rows", "--to", "answers"]).run().refused(1);
    assert!(said.contains("build it with `--features cluster`"), "{said}");
}
