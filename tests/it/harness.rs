//! A real server on a free loopback port, with a database of its own and an engine by script.

mod program;
mod scripted;
mod served;
mod work;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use txcat::{
    access::{Access, FreshKey, Holder, KeyLimits, KeyRequest, LOCAL, Oidc, OidcSettings, Scope},
    categorize::{Lineup, Stage},
    clock,
    domain::{Acceptance, Enrichment, Taxonomy},
    enrich::Enricher,
    http::{self, AppState},
    pipeline::Pipeline,
    store::Store,
};

pub(crate) use program::{NOWHERE, Run, Said, txcat};
pub(crate) use scripted::{Line, SCRIPT, Scripted};
pub(crate) use served::Served;
pub(crate) use work::{Server, work};

use crate::database::{TestDatabase, fresh_store};

/// How long a test waits for what comes at once where nothing else is done: less than the minute after which a service
/// looks by itself for what it was not told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// What its webhooks must be signed with.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A running service. It stops when dropped.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) pipeline: Arc<Pipeline>,
    client: reqwest::Client,
    key: Option<String>,
    _stop: oneshot::Sender<()>,
    /// Last, so that it is dropped when nothing uses it any more.
    pub(crate) database: TestDatabase,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn with(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl App {
    /// Without keys, so that the caller is the local admin.
    pub(crate) async fn start() -> Self {
        let app = Self::start_without_taxonomy().await;
        app.store.sync_taxonomy(&Taxonomy::consumer().unwrap(), clock::now()).await.unwrap();
        app
    }

    /// [`App::start`] on a database that has never seen the taxonomy.
    pub(crate) async fn start_without_taxonomy() -> Self {
        let (store, database) = fresh_store().await;
        Self::serve(store, database, Arc::new(Taxonomy::consumer().unwrap())).await
    }

    /// With one key of these scopes, which every request of this client carries.
    pub(crate) async fn start_with_key(scopes: &[Scope]) -> Self {
        let mut app = Self::start().await;
        let key = app.make_key("test", scopes, None).await;
        app.key = Some(key);
        app
    }

    /// [`App::start`], where this share of decisions is drawn for a second person's word.
    pub(crate) async fn start_with_second_share(share: f32) -> Self {
        let (store, database) = fresh_store().await;
        let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
        store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
        let lineup = Self::scripted(&taxonomy);
        Self::tuned(store, database, taxonomy, lineup, 0.0, |_, state| state.with_second_share(share)).await
    }

    /// [`App::start`], where so many streams may be open at a time.
    pub(crate) async fn start_with_streams(streams: usize) -> Self {
        let (store, database) = fresh_store().await;
        let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
        store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
        let lineup = Self::scripted(&taxonomy);
        Self::tuned(store, database, taxonomy, lineup, 0.0, |_, state| state.with_streams(streams)).await
    }

    /// [`App::start`], with a client that shows where it is sent instead of going there.
    pub(crate) async fn start_without_redirects() -> Self {
        Self::start().await.without_redirects()
    }

    fn without_redirects(self) -> Self {
        let stay = reqwest::redirect::Policy::none();
        let client = txcat::outbound::client().no_proxy().redirect(stay).build().unwrap();
        Self { client, ..self }
    }

    /// [`App::start_without_redirects`], where people may sign in by a provider.
    pub(crate) async fn start_with_oidc(settings: impl FnOnce(SocketAddr) -> OidcSettings) -> Self {
        let (store, database) = fresh_store().await;
        let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
        store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
        let lineup = Self::scripted(&taxonomy);
        let by = |address, state: AppState| state.with_oidc(Some(Arc::new(Oidc::new(settings(address)).unwrap())));
        Self::tuned(store, database, taxonomy, lineup, 0.0, by).await.without_redirects()
    }

    async fn serve(store: Store, database: TestDatabase, taxonomy: Arc<Taxonomy>) -> Self {
        let lineup = Self::scripted(&taxonomy);
        Self::answering(store, database, taxonomy, lineup, 0.0).await
    }

    /// A line-up of the scripted engine alone.
    pub(crate) fn scripted(taxonomy: &Taxonomy) -> Lineup {
        let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(Scripted::new(taxonomy.version())));
        stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
        Lineup::alone(stage)
    }

    /// With a line-up of its own.
    pub(crate) async fn answering(
        store: Store,
        database: TestDatabase,
        taxonomy: Arc<Taxonomy>,
        lineup: Lineup,
        audit_share: f32,
    ) -> Self {
        Self::tuned(store, database, taxonomy, lineup, audit_share, |_, state| state).await
    }

    async fn tuned(
        store: Store,
        database: TestDatabase,
        taxonomy: Arc<Taxonomy>,
        lineup: Lineup,
        audit_share: f32,
        tune: impl FnOnce(SocketAddr, AppState) -> AppState,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let enricher = Enricher::new(store.clone());
        let pipeline = Arc::new(Pipeline::new(store.clone(), enricher, lineup, audit_share));
        let access = Arc::new(Access::new(store.clone(), address, clock::now()).await.unwrap());
        let state = AppState::new(store.clone(), Arc::clone(&pipeline), taxonomy, access)
            .with_webhook_secret(Some(WEBHOOK_SECRET.to_owned().into()));
        let state = tune(address, state);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(http::serve(listener, state, async {
            let _ = stopped.await;
        }));
        let client = txcat::outbound::client().no_proxy().build().unwrap();
        Self { address, database, store, pipeline, client, key: None, _stop: stop }
    }

    /// From now on requests carry this key.
    pub(crate) fn use_key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    pub(crate) async fn make_key(
        &self,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<chrono::DateTime<chrono::Utc>>,
    ) -> String {
        self.make_limited_key(name, scopes, expires_at, KeyLimits::default()).await
    }

    pub(crate) async fn make_limited_key(
        &self,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<chrono::DateTime<chrono::Utc>>,
        limits: KeyLimits,
    ) -> String {
        let holder = Holder::Program(scopes.to_vec());
        let request = KeyRequest { name: name.to_owned(), holder, expires_at, made_by: LOCAL.to_owned(), limits };
        let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
        FreshKey::create(&self.store, request, random, clock::now()).await.unwrap().reveal()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.request(method.parse().unwrap(), url);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A stream has no end to wait for.
        let streams = headers.get("content-type").is_some_and(|media| media == "text/event-stream");
        let bytes = if streams { Default::default() } else { response.bytes().await.unwrap() };
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// Sends rows, and returns the results.
    pub(crate) async fn ingest(&self, rows: &[Value]) -> Vec<Value> {
        let body = self.post("/v1/transactions", &json!({ "transactions": rows })).await.with(200);
        body["results"].as_array().unwrap().clone()
    }

    /// How many rows the list holds.
    pub(crate) async fn count(&self) -> usize {
        let (mut count, mut after) = (0, String::new());
        loop {
            let page = self.get(&format!("/v1/transactions?limit=500{after}")).await.with(200);
            count += page["transactions"].as_array().unwrap().len();
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return count,
            }
        }
    }
}

/// A row as a caller sends it.
pub(crate) fn row(id: &str, descriptor: &str) -> Value {
    json!({
        "id": id,
        "account_id": "acc-1",
        "posted_at": "2026-03-14T09:26:53Z",
        "amount": "6.50",
        "currency": "USD",
        "direction": "debit",
        "descriptor": descriptor,
    })
}

/// The row with members put in place.
#[expect(clippy::needless_pass_by_value, reason = "callers write the members as a literal")]
pub(crate) fn with(mut row: Value, members: Value) -> Value {
    row.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    row
}
