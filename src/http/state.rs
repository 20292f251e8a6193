//! What the handlers share.

use std::sync::Arc;

use super::{health::LastFinding, live::Live, metrics::Metrics, tls::Tls};
use crate::{
    access::{Access, Oidc},
    config::Secret,
    domain::Taxonomy,
    pipeline::{Gathered, Pipeline},
    review::Desk,
    store::Store,
};

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub(super) store: Store,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) entrance: Gathered,
    pub(super) taxonomy: Arc<Taxonomy>,
    pub(super) access: Arc<Access>,
    pub(super) desk: Desk,
    pub(super) last_finding: LastFinding,
    pub(super) live: Live,
    pub(super) metrics: Metrics,
    pub(super) webhook_secret: Option<Secret>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) oidc: Option<Arc<Oidc>>,
}

impl AppState {
    /// Within a tokio runtime. The taxonomy must be the one that the pipeline's stage answers in.
    #[must_use]
    pub fn new(store: Store, pipeline: Arc<Pipeline>, taxonomy: Arc<Taxonomy>, access: Arc<Access>) -> Self {
        let entrance = Gathered::before(Arc::clone(&pipeline));
        let desk = Desk::new(store.clone(), Arc::clone(&taxonomy));
        Self {
            store,
            pipeline,
            entrance,
            taxonomy,
            access,
            desk,
            last_finding: LastFinding::default(),
            live: Live::default(),
            metrics: Metrics::default(),
            webhook_secret: None,
            tls: None,
            oidc: None,
        }
    }

    /// With what providers sign their messages with; without it none is taken.
    #[must_use]
    pub fn with_webhook_secret(self, webhook_secret: Option<Secret>) -> Self {
        Self { webhook_secret, ..self }
    }

    /// With a certificate to speak HTTPS with; plain HTTP without one.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// With a provider that people may sign in by; by keys alone without one.
    #[must_use]
    pub fn with_oidc(self, oidc: Option<Arc<Oidc>>) -> Self {
        Self { oidc, ..self }
    }

    /// With another number of streams that may be open at a time.
    #[must_use]
    pub fn with_streams(self, streams: usize) -> Self {
        let live = self.live.clone().with_streams(streams);
        Self { live, ..self }
    }

    /// With another share of decisions that a second person is asked about.
    #[must_use]
    pub fn with_second_share(self, share: f32) -> Self {
        let desk = self.desk.clone().with_second_share(share);
        Self { desk, ..self }
    }
}
