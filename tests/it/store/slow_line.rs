//! A line to Postgres on which the server's answers can be held back.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// What becomes of the server's answers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Answers {
    /// They pass.
    Pass,
    /// They pass until the client begins a database transaction.
    UntilBegin,
    /// They wait.
    Wait,
}

/// A line that listens on loopback for as long as the test's runtime lasts.
pub(super) struct SlowLine {
    /// The database at its other end.
    pub(super) url: String,
    answers: watch::Sender<Answers>,
}

impl SlowLine {
    pub(super) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (account, rest) = url.split_once('@').unwrap();
        let database = rest.split(['/', '?']).nth(1).unwrap();
        let near = format!("{account}@{}/{database}", listener.local_addr().unwrap());
        let far = PgConnectOptions::from_str(url).unwrap();
        let answers = watch::Sender::new(Answers::Pass);
        let told = answers.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (asks, answered) = client.into_split();
                match far.get_socket() {
                    Some(folder) => {
                        let server = folder.join(format!(".s.PGSQL.{}", far.get_port()));
                        let (read, write) = UnixStream::connect(server).await.unwrap().into_split();
                        carry((asks, answered), (read, write), &told);
                    }
                    None => {
                        let server = (far.get_host(), far.get_port());
                        let (read, write) = TcpStream::connect(server).await.unwrap().into_split();
                        carry((asks, answered), (read, write), &told);
                    }
                }
            }
        });
        Self { url: near, answers }
    }

    pub(super) fn set(&self, answers: Answers) {
        self.answers.send_replace(answers);
    }

    /// Waits until the answer to the beginning of a database transaction waits.
    pub(super) async fn until_begun(&self) {
        self.answers.subscribe().wait_for(|answers| *answers == Answers::Wait).await.unwrap();
    }
}

/// Carries what one side says to the other, each way on a task of its own.
fn carry(
    (mut asks, mut answered): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
    (mut read, mut write): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
    told: &watch::Sender<Answers>,
) {
    let (begins, mut passes) = (told.clone(), told.subscribe());
    tokio::spawn(async move {
        let mut some = [0; 65_536];
        while let Ok(count @ 1..) = asks.read(&mut some).await {
            if some[..count].windows(5).any(|word| word == b"BEGIN") {
                begins.send_if_modified(|answers| {
                    let armed = *answers == Answers::UntilBegin;
                    if armed {
                        *answers = Answers::Wait;
                    }
                    armed
                });
            }
            write.write_all(&some[..count]).await.unwrap();
        }
    });
    tokio::spawn(async move {
        let mut some = [0; 65_536];
        while let Ok(count @ 1..) = read.read(&mut some).await {
            if passes.wait_for(|answers| *answers != Answers::Wait).await.is_err()
                || answered.write_all(&some[..count]).await.is_err()
            {
                break;
            }
        }
    });
}
