//! The way of a connection: accepted, served over HTTP/1.1, and ended in time, whoever is at its other end.

use std::{future::Future, pin::pin, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::frame::TIME_LIMIT;

/// For how long requests under way are waited for once a server is to stop: all the time that one has, and some to send the answer.
pub const DRAIN: Duration = TIME_LIMIT.saturating_add(Duration::from_secs(5));

/// How long what is waited for may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For a request's header, and so between two requests: a little more than the minute for which balancers keep a connection.
    header: Duration,
    /// For requests under way, once it is to stop.
    drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { header: Duration::from_secs(75), drain: DRAIN }
    }
}

/// Serves until `stop` is done, then lets running requests finish. What is not done in time is dropped.
pub(super) async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    stop: impl Future<Output = ()>,
    patience: Patience,
) {
    let stopping = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            (io, _) = listener.accept() => {
                connections.spawn(connection(io, router.clone(), stopping.clone(), patience.header));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stopping.cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience.drain, finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "Connections that did not end in time are dropped");
    }
}

async fn connection<I>(io: I, router: Router, stopping: CancellationToken, header: Duration)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header);
    let mut served = pin!(http.serve_connection(TokioIo::new(io), TowerToHyperService::new(router)));
    // A client that hangs up, or says what is no HTTP, is nothing to log.
    tokio::select! {
        _ = served.as_mut() => return,
        () = stopping.cancelled() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        sync::Notify,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(600);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// All that the other end says to the beginning of a request, until it hangs up.
    async fn said(address: SocketAddr, sent: &str) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn a_client_that_never_ends_its_header_is_left() {
        let (listener, address) = listener().await;
        let router = Router::new().fallback(async || "here");
        let served = serve(listener, router, std::future::pending(), Patience { header: SOON, drain: LATE });
        let asked = async {
            assert!(said(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("here"));
            said(address, "GET / HTTP/1.1\r\nHo").await
        };
        tokio::select! {
            () = served => unreachable!("nobody has it stop"),
            _ = asked => {}
        }
    }

    #[tokio::test]
    async fn stopping_waits_for_an_answer_and_not_for_a_request_that_never_comes() {
        let (listener, address) = listener().await;
        let (begun, go, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()), CancellationToken::new());
        let slow = {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move || {
                begun.notify_one();
                go.notified().await;
                "here"
            }
        };
        let patience = Patience { header: LATE, drain: Duration::from_secs(1) };
        let router = Router::new().fallback(slow);
        let served = tokio::spawn(serve(listener, router, stop.clone().cancelled_owned(), patience));
        let begins = tokio::spawn(said(address, "GET / HTTP/1.1\r\nHo"));
        let asks = tokio::spawn(said(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        begun.notified().await;
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {}
        go.notify_one();
        assert!(asks.await.unwrap().ends_with("here"));
        served.await.unwrap();
        assert_eq!(begins.await.unwrap(), "");
    }
}
