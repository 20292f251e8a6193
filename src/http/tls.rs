//! HTTPS on the service's own port: a certificate and its key out of files, and the handshake before a connection is served.
//!
//! TLS 1.2 and 1.3 by rustls, with the provider that outgoing HTTP has too. HTTP/1.1, as without TLS.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Longest time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes under way at a time; further connections wait in the system's queue.
const MOST_HANDSHAKES: usize = 1_024;

/// Why HTTPS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that can't be read, or that holds no such thing in PEM.
    #[error("{} holds no {what} in PEM that can be read", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
        /// Why there is none.
        source: pem::Error,
    },
    /// Certificate and key are there and don't go together.
    #[error("the certificate in {} can't be used with the key in {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate with its key, to be read again when the files have changed.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads a certificate with those that lead to its authority, and its key.
    ///
    /// # Errors
    /// When a file can't be read, or the two don't go together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let config = ArcSwap::from_pointee(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), config })
    }

    /// Reads the files again: connections from now on get what they hold.
    ///
    /// # Errors
    /// As [`Self::load`]; then the certificate stays the one before.
    pub fn reload(&self) -> Result<(), Error> {
        self.config.store(Arc::new(read(&self.certificate, &self.key)?));
        Ok(())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, Error> {
    let no_certificate = |source| Error::File { path: certificate.to_owned(), what: "certificate", source };
    let no_key = |source| Error::File { path: key.to_owned(), what: "private key", source };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(no_certificate)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(no_certificate)?;
    if chain.is_empty() {
        return Err(no_certificate(pem::Error::NoItemsFound));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(no_key)?;
    let pair = |source| Error::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Connections whose handshake is done. One that is slow keeps nobody else waiting.
pub(super) struct Secured {
    listener: TcpListener,
    tls: Arc<Tls>,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl Secured {
    pub(super) fn new(listener: TcpListener, tls: Arc<Tls>) -> Self {
        Self { listener, tls, handshakes: JoinSet::new() }
    }
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let room = self.handshakes.len() < MOST_HANDSHAKES;
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                (stream, from) = Listener::accept(&mut self.listener), if room => {
                    let acceptor = TlsAcceptor::from(self.tls.config.load_full());
                    self.handshakes.spawn(async move {
                        let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.ok()?;
                        // Whoever speaks no TLS is told so by the handshake itself, and is nothing to log.
                        Some((shaken.ok()?, from))
                    });
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
