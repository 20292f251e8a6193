//! `txcat people`: lets people in to the pages, lists them, and takes them out again.

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Settings, keys};
use crate::{
    access::{self, FreshKey, Holder, KeyLimits, KeyRequest, LOCAL, Role},
    clock,
    embedded::Database,
    store::{Store, StoredKey},
};

/// Let people in to the pages, list them, and take them out again.
///
/// A person signs in at /sign-in with a key that is shown once, here. A reader looks; an analyst also decides what
/// waits for review; an admin may do everything. The same key works for the API, with the same rights.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let somebody in, and print the key to sign in with, this once.
    Add {
        /// The name that stands beside what the person decides; nobody else has it.
        #[arg(value_parser = keys::name)]
        name: String,

        /// What the person may do: reader, analyst or admin.
        #[arg(long, value_name = "ROLE", default_value = "analyst")]
        role: Role,
    },
    /// List the people there are.
    List {
        /// As JSON.
        #[arg(long = "json")]
        json: bool,
    },
    /// Take somebody out: sessions end at once, what was decided stays.
    Remove {
        /// The name.
        name: String,
    },
}

/// Does it.
///
/// # Errors
/// When the database can't be used, the name is taken, or there is no such person to take out.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let database = Database::open(&settings.database).await?;
    let store = Store::connect(database.url(), 1).await?;
    let done = act(options.action, &store).await;
    store.close().await;
    database.close().await?;
    done
}

async fn act(action: Action, store: &Store) -> anyhow::Result<()> {
    let now = clock::now();
    match action {
        Action::Add { name, role } => {
            let holder = Holder::Person(role);
            let request =
                KeyRequest { name, holder, expires_at: None, made_by: LOCAL.to_owned(), limits: KeyLimits::default() };
            let key = FreshKey::create(store, request, &mut access::random()?, now).await?;
            println!("{}", key.reveal());
            eprintln!("This key is shown once and can't be shown again. Sign in with it at /sign-in.");
        }
        Action::List { json } => {
            let standing = |key: &StoredKey| key.role.is_some() && key.successor.is_none();
            let people: Vec<StoredKey> = store.list_keys().await?.into_iter().filter(standing).collect();
            if json { print_json(&people)? } else { println!("{}", table(&people)) }
        }
        Action::Remove { name } => {
            let known = store.list_keys().await?.into_iter().any(|key| key.role.is_some() && key.name == name);
            anyhow::ensure!(
                known && store.revoke_key(&name, LOCAL, now).await?,
                "there is nobody called `{name}` to take out"
            );
            println!("{name} can't sign in any more.");
        }
    }
    Ok(())
}

fn print_json(people: &[StoredKey]) -> anyhow::Result<()> {
    let people: Vec<_> = people
        .iter()
        .map(|key| {
            json!({
                "name": key.name, "role": key.role, "added_at": key.created_at, "removed_at": key.revoked_at,
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&people)?);
    Ok(())
}

fn table(people: &[StoredKey]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["name", "role", "since", "until"]);
    for key in people {
        let until = key.revoked_at.map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string());
        table.add_row([
            key.name.clone(),
            key.role.clone().unwrap_or_default(),
            key.created_at.format("%Y-%m-%d").to_string(),
            until,
        ]);
    }
    table
}
