//! `txcat webhooks`: endpoints that are told of changes.

use anyhow::ensure;
use clap::{Args, Subcommand};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use rand::RngCore as _;
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    access::{self, LOCAL},
    clock, events,
    jobs::webhooks::Deliver,
    signature,
    store::{Store, Webhook},
};

/// Endpoints that are told when a transaction's category in force changes: by a recategorization or its undo, by a
/// person, by a rule. Each event is sent at least once and in order, up to 100 in a message, signed as Standard Webhooks
/// has it; any answer of 2xx takes them. What is not taken is sent again, later and later; after twelve failures in a row
/// the endpoint is paused until it is resumed. Workers do the telling. `GET /v1/events?after=` reads the same.
///
///   txcat webhooks add URL
///   txcat webhooks list
///
/// The secret that `add` prints goes into any library for Standard Webhooks, which verifies a message by its headers
/// (webhook-id, webhook-timestamp, webhook-signature) and its body as it came. Answer 2xx once it is stored, also where
/// its webhook-id was seen before: what was not taken comes again under the same one.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make an endpoint, and print the secret that signs what it is sent. It is shown this once.
    Add {
        /// Where: an http or https address.
        url: String,
        /// Tell it of events after this one, 0 for all there are; at most the newest. [default: from now on]
        #[arg(long, value_name = "EVENT", value_parser = clap::value_parser!(i64).range(0..))]
        after: Option<i64>,
    },
    /// List endpoints, and how far each has come.
    List {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Try an endpoint again that is paused or waits, from where it stood.
    Resume {
        /// Its number.
        webhook: i64,
    },
    /// Take an endpoint away.
    Remove {
        /// Its number.
        webhook: i64,
    },
}

/// Runs `txcat webhooks`.
///
/// # Errors
/// When there is no such endpoint, nothing can be sent there, or the database can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    with_store(settings, async |store| on(options.action, store).await).await
}

async fn on(action: Action, store: &Store) -> anyhow::Result<()> {
    match action {
        Action::Add { url, after } => {
            let mut random = [0; signature::SECRET];
            access::random()?.fill_bytes(&mut random);
            let made = events::register(store, &url, after, LOCAL, random, clock::now()).await?;
            eprintln!("webhook {} is made; this secret is shown now and never again:", made.id);
            println!("{}", made.secret.expose());
        }
        Action::List { json } => list(&store.webhooks(None).await?, json),
        Action::Resume { webhook } => {
            ensure!(store.resume_webhook(webhook, LOCAL).await?, "there is no webhook {webhook}");
            Deliver { webhook }.ask_at_once(store).await?;
            println!("webhook {webhook} is tried again");
        }
        Action::Remove { webhook } => {
            ensure!(store.delete_webhook(webhook, LOCAL).await?, "there is no webhook {webhook}");
            println!("webhook {webhook} is told nothing any more");
        }
    }
    Ok(())
}

/// Whether an endpoint is told.
fn stands(webhook: &Webhook) -> &'static str {
    match (webhook.paused_at, webhook.failures) {
        (Some(_), _) => "paused",
        (None, 0) => "told",
        (None, _) => "retrying",
    }
}

fn list(webhooks: &[Webhook], as_json: bool) {
    if as_json {
        let told = |webhook: &Webhook| {
            json!({
                "id": webhook.id,
                "url": webhook.url,
                "state": stands(webhook),
                "delivered": webhook.delivered,
                "delivered_at": webhook.delivered_at,
                "failures": webhook.failures,
                "last_error": webhook.last_error,
                "next_try_at": webhook.next_try_at,
                "paused_at": webhook.paused_at,
                "created_by": webhook.created_by,
                "created_at": webhook.created_at,
            })
        };
        println!("{}", json!({ "webhooks": webhooks.iter().map(told).collect::<Vec<_>>() }));
        return;
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["webhook", "address", "state", "has taken", "failures", "next try", "last failed because"]);
    for webhook in webhooks {
        let next = webhook.next_try_at.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S").to_string());
        table.add_row([
            Cell::new(webhook.id).set_alignment(CellAlignment::Right),
            Cell::new(&webhook.url),
            Cell::new(stands(webhook)),
            Cell::new(webhook.delivered).set_alignment(CellAlignment::Right),
            Cell::new(webhook.failures).set_alignment(CellAlignment::Right),
            Cell::new(next),
            Cell::new(webhook.last_error.as_deref().unwrap_or_default()),
        ]);
    }
    println!("{table}");
}
