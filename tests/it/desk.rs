//! The analyst's desk: leases, decisions with their previews, undo, second labels, files, and who may sit there.

mod browser;
mod decisions;
mod driven;
mod files;
mod hands;
mod life;
mod live;
mod merchants;
mod numbers;
mod oidc;
mod pages;
mod queue;
mod scale;
mod signs;
mod undo;

use serde_json::{Value, json};
use txcat::{
    access::{FreshKey, Holder, KeyRequest, LOCAL, Role},
    clock,
};

use crate::harness::{App, row, with};

/// A person's key.
pub(crate) async fn person(app: &App, name: &str, role: Role) -> String {
    let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
    let holder = Holder::Person(role);
    let request = KeyRequest {
        name: name.to_owned(),
        holder,
        expires_at: None,
        made_by: LOCAL.to_owned(),
        limits: Default::default(),
    };
    FreshKey::create(&app.store, request, random, clock::now()).await.unwrap().reveal()
}

/// A doubtful row of an account: everything but coffee and markets is.
fn place(id: &str, account: &str, descriptor: &str, amount: &str) -> Value {
    with(row(id, descriptor), json!({ "account_id": account, "amount": amount }))
}

/// What somebody claims, by key and number of rows.
async fn claimed(app: &App, body: Value) -> Vec<(String, u64)> {
    let claimed = app.post("/v1/reviews/claims", &body).await.with(200);
    let groups = claimed["groups"].as_array().unwrap().iter();
    groups.map(|group| (group["group"].as_str().unwrap().to_owned(), group["rows"].as_u64().unwrap())).collect()
}

/// Category, who decided, and the state of review, in one line.
async fn stands(app: &App, id: &str) -> String {
    let row = app.get(&format!("/v1/transactions/{id}")).await.with(200);
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    format!("{} by {}, {}", text("category"), text("decided_by"), text("review_status"))
}

fn decision(id: &str, category: &str, scope: &str) -> Value {
    json!({ "transaction_id": id, "category": category, "scope": scope })
}
