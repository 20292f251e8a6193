//! `txcat people`: lets people in to the pages, lists them, and takes them out again.

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Settings, keys, service::with_store};
use crate::{
    access::{self, FreshKey, Holder, KeyLimits, KeyRequest, LOCAL, Role},
    clock,
    store::{self, OidcSubject, Store, StoredKey},
};

/// Let people in to the pages, list them, and take them out again.
///
/// A person signs in at /sign-in with a key that is shown once, here. A reader looks; an analyst also decides what
/// waits for review; an admin may do everything. The same key works for the API, with the same rights. Where `txcat serve --oidc-issuer`
/// names a provider of OpenID Connect, who is linked to what that calls them signs in by it, with the same rights.
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
    /// Let somebody sign in by the provider too. Whoever is signed in as that person is not any more.
    Link {
        /// The name.
        name: String,

        /// What the provider calls the person: the `sub` of its tokens. The page that refuses somebody shows it.
        #[arg(value_parser = subject)]
        subject: String,

        /// The provider's address, as `txcat serve` has it.
        #[arg(long = "oidc-issuer", env = "TXCAT_OIDC_ISSUER", value_name = "URL", value_parser = access::issuer)]
        issuer: String,
    },
    /// Let somebody sign in by the key alone again. Whoever is signed in as that person is not any more.
    Unlink {
        /// The name.
        name: String,
    },
    /// Take somebody out: sessions end at once, what was decided stays.
    Remove {
        /// The name.
        name: String,
    },
}

/// What a provider calls somebody (OpenID Connect Core 1.0, section 2).
fn subject(text: &str) -> Result<String, &'static str> {
    let sane = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
    if sane { Ok(text.to_owned()) } else { Err("must have 1 to 255 characters, none of them a control character") }
}

/// Does it.
///
/// # Errors
/// When the database can't be used, the name is taken, or there is no such person to take out.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    with_store(settings, async |store| act(options.action, store).await).await
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
        Action::Link { name, subject, issuer } => {
            let whom = OidcSubject { issuer, subject };
            let linked = match store.link_person(&name, Some(&whom), LOCAL).await {
                Err(store::Error::Constraint { name: rule }) if rule == "api_keys_oidc_once" => {
                    anyhow::bail!("`{}` of {} is somebody else here: `txcat people list`", whom.subject, whom.issuer)
                }
                linked => linked?,
            };
            anyhow::ensure!(linked, "there is nobody called `{name}` to link");
            println!("{name} is `{}` of {}.", whom.subject, whom.issuer);
        }
        Action::Unlink { name } => {
            let linked = store.link_person(&name, None, LOCAL).await?;
            anyhow::ensure!(linked, "there is nobody called `{name}` to unlink");
            println!("{name} signs in by the key alone.");
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
                "oidc_issuer": key.oidc_issuer, "oidc_subject": key.oidc_subject,
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&people)?);
    Ok(())
}

fn table(people: &[StoredKey]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["name", "role", "since", "until", "provider calls them"]);
    for key in people {
        let until = key.revoked_at.map_or_else(String::new, |at| at.format("%Y-%m-%d").to_string());
        table.add_row([
            key.name.clone(),
            key.role.clone().unwrap_or_default(),
            key.created_at.format("%Y-%m-%d").to_string(),
            until,
            key.oidc_subject.clone().unwrap_or_default(),
        ]);
    }
    table
}
