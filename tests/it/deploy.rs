//! `docker-compose.yml` and the manifests under `deploy/`: what they set is what the service reads.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use nix::sys::signal::Signal;
use regex::Regex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use txcat::{cli::Cli, config::Oidc, http::DRAIN};

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

#[test]
fn a_server_is_given_the_time_to_finish_what_it_is_asked() {
    let compose = COMPOSE.split("\n  serve:").nth(1).and_then(|of| of.split("\n  worker:").next()).unwrap();
    for (text, name) in [(compose, "stop_grace_period"), (KUBERNETES, "terminationGracePeriodSeconds")] {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        let seconds: u64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!(seconds > DRAIN.as_secs(), "{name}{line}");
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_again_waits_for_nothing_any_more() {
    let served = Served::start(&[], &[]).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let begun = "POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(begun.as_bytes()).await.unwrap();
    let mut goes_on = [0; 12];
    client.read_exact(&mut goes_on).await.unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100", "the request is not under way");
    served.tell(Signal::SIGTERM);
    // Nobody else gets in; the request is waited for.
    while TcpStream::connect(served.address).await.is_ok() {}
    served.tell(Signal::SIGTERM);
    assert_eq!(served.ends().await, Some(143));
}
