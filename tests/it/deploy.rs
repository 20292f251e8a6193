//! `docker-compose.yml` and the manifests under `deploy/`: what they set is what the service reads.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use regex::Regex;
use txcat::{cli::Cli, config::Oidc};

use crate::harness::Served;

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const KUBERNETES: &str = include_str!("../../deploy/kubernetes/txcat.yaml");

/// What `serve` takes of a provider to sign in by.
const SIGN_IN: [&str; 4] = ["TXCAT_OIDC_ISSUER", "TXCAT_OIDC_CLIENT_ID", Oidc::CLIENT_SECRET, "TXCAT_PUBLIC_URL"];

/// Variables that a command or one below it reads.
fn read(command: &clap::Command, all: &mut BTreeSet<String>) {
    let of = |argument: &clap::Arg| argument.get_env().map(|name| name.to_string_lossy().into_owned());
    all.extend(command.get_arguments().filter_map(of));
    command.get_subcommands().for_each(|below| read(below, all));
}

#[test]
fn every_variable_that_is_set_is_one_that_the_service_reads() {
    let mut known = BTreeSet::from([Oidc::CLIENT_SECRET.to_owned(), "TXCAT_POSTGRES_PASSWORD".to_owned()]);
    read(&Cli::command(), &mut known);
    let name = Regex::new("TXCAT_[A-Z_]+").unwrap();
    for text in [COMPOSE, KUBERNETES] {
        let unknown: Vec<&str> =
            name.find_iter(text).map(|found| found.as_str()).filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn signing_in_by_a_provider_can_be_set_and_need_not_be() {
    for name in SIGN_IN {
        // Compose leaves a variable out that has no value where it runs.
        assert!(COMPOSE.lines().any(|line| line.trim() == format!("{name}:")), "{name} in docker-compose.yml");
        let mut lines = KUBERNETES.lines().skip_while(|line| line.trim() != format!("- name: {name}"));
        let from = lines.nth(1).unwrap_or_else(|| panic!("{name} in the manifests"));
        assert!(from.contains("secretKeyRef: { name: txcat-oidc") && from.contains("optional: true"), "{from}");
    }
}

#[tokio::test]
async fn a_server_with_these_variables_offers_the_provider_and_one_without_does_not() {
    let values = ["https://id.bank.example/realms/staff", "txcat", "a secret", "https://txcat.bank.example"];
    let set: Vec<(&str, &str)> = SIGN_IN.into_iter().zip(values).collect();
    for (variables, offered) in [(&set[..], true), (&[][..], false)] {
        let served = Served::start(&[], variables).await;
        let client = txcat::outbound::client().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}/sign-in", served.address)).send().await.unwrap();
        let page = answer.text().await.unwrap();
        assert!(page.contains("<h1>Sign in</h1>"), "{page}");
        assert_eq!(page.contains("href=\"/sign-in/oidc\">Sign in by https:"), offered, "{page}");
        served.stop().await;
    }
}
