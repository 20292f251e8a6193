//! Outgoing HTTP: the one place where a client begins.

/// A client to build on, with the process's TLS provider in place whoever asks first. A provider that
/// the process has chosen already is as good as this one.
#[expect(clippy::disallowed_methods, reason = "the place that the lint sends everybody to")]
pub fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
