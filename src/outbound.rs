//! Outgoing HTTP: the one place where a client begins.

/// Puts the process's TLS provider in place, whoever asks first. One that the process has chosen already is as good as this one.
pub fn provide_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client to build on.
#[expect(clippy::disallowed_methods, reason = "the place that the lint sends everybody to")]
pub fn client() -> reqwest::ClientBuilder {
    provide_tls();
    reqwest::Client::builder()
}
