//! Merchants: their traffic, and one of them with what people said of it and a way to say more.

use axum::{extract::State, response::Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        error::Error,
        extract::{Params, Who},
        state::AppState,
    },
    page,
    told::{Choice, Done},
};
use crate::{
    clock, review,
    store::{ActionFilter, MerchantFilter, MerchantVolume, StandingRule},
};

/// Days whose traffic the list counts.
const DAYS: i64 = 90;
/// Merchants on a page.
const MOST_MERCHANTS: u32 = 200;
/// Acts of the trail that are shown.
const MOST_ACTIONS: u32 = 50;

/// Which merchants to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MerchantsQuery {
    #[serde(default)]
    text: String,
}

#[derive(Serialize)]
struct Merchants {
    here: &'static str,
    days: i64,
    text: String,
    merchants: Vec<MerchantVolume>,
}

pub(super) async fn list(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<MerchantsQuery>,
) -> Result<Response, Error> {
    let text = query.text.trim().to_owned();
    let since = clock::now() - TimeDelta::days(DAYS);
    let filter = MerchantFilter { text: Some(text.clone()).filter(|text| !text.is_empty()), merchant: None };
    let merchants = state.store.merchant_volumes(since, &filter, MOST_MERCHANTS).await?;
    page("merchants.html", &caller, Merchants { here: "merchants", days: DAYS, text, merchants })
}

/// Which merchant to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MerchantQuery {
    key: String,
}

#[derive(Serialize)]
struct Merchant<'a> {
    here: &'static str,
    merchant: MerchantVolume,
    rules: Vec<StandingRule>,
    actions: Vec<Done>,
    categories: Vec<Choice<'a>>,
    others: Vec<MerchantVolume>,
}

pub(super) async fn show(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<MerchantQuery>,
) -> Result<Response, Error> {
    let key = state.store.merchant_key(&query.key).await?;
    let filter = MerchantFilter { merchant: Some(key.clone()), text: None };
    let found = state.store.merchant_volumes(DateTime::<Utc>::UNIX_EPOCH, &filter, 1).await?.into_iter().next();
    let merchant = found.ok_or(review::Error::UnknownMerchant { key })?;
    let since = clock::now() - TimeDelta::days(DAYS);
    let mut others = state.store.merchant_volumes(since, &MerchantFilter::default(), MOST_MERCHANTS).await?;
    others.retain(|other| other.key != merchant.key);
    let about = ActionFilter { merchant: Some(merchant.keys.clone()), ..ActionFilter::default() };
    let shown = Merchant {
        here: "merchants",
        rules: state.desk.merchant_rules(&merchant.key).await?,
        actions: state.store.review_actions(&about, MOST_ACTIONS).await?.into_iter().map(Done::from).collect(),
        categories: state.taxonomy.assignable().iter().map(Choice::of).collect(),
        others,
        merchant,
    };
    page("merchant.html", &caller, shown)
}
