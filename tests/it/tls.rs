//! HTTPS with a certificate of one's own, on the process as it is run.

use std::fs;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use txcat::access::{FreshKey, Holder, KeyLimits, KeyRequest, LOCAL, Role};

use crate::harness::{NOWHERE, Run as _, Said, Served, txcat};

/// A certificate for this machine, and its key, in two files.
struct Pair {
    folder: TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        pair.renew();
        pair
    }

    /// Another certificate in the same files.
    fn renew(&self) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(self.certificate(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    fn certificate(&self) -> String {
        self.path("certificate.pem")
    }

    fn key(&self) -> String {
        self.path("key.pem")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A client that trusts this certificate and no other.
    fn client(&self) -> reqwest::Client {
        let trusted = reqwest::Certificate::from_pem(&fs::read(self.certificate()).unwrap()).unwrap();
        let stay = reqwest::redirect::Policy::none();
        txcat::outbound::client().no_proxy().redirect(stay).tls_certs_only([trusted]).build().unwrap()
    }
}

#[tokio::test]
async fn https_is_spoken_with_the_certificate_and_cookies_never_leave_it() {
    let pair = Pair::new();
    let mut served = Served::start(&["--tls-certificate", &pair.certificate(), "--tls-key", &pair.key()], &[]).await;
    let store = txcat::store::Store::connect(served.database_url(), 2).await.unwrap();
    let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
    let ada = KeyRequest {
        name: "ada".to_owned(),
        holder: Holder::Person(Role::Admin),
        expires_at: None,
        made_by: LOCAL.to_owned(),
        limits: KeyLimits::default(),
    };
    let key = FreshKey::create(&store, ada, random, txcat::clock::now()).await.unwrap().reveal();
    store.close().await;
    let port = served.address.port();
    let url = |path: &str| format!("https://localhost:{port}{path}");
    let client = pair.client();
    let answer = client.get(url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let form = client.post(url("/sign-in")).header("content-type", "application/x-www-form-urlencoded");
    let signed_in = form.body(format!("key={key}")).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; SameSite=Strict; Secure"), "{cookie}");
    // Who trusts another certificate, or speaks no TLS, is not served, and keeps nobody else waiting.
    let stranger = Pair::new().client();
    assert!(stranger.get(url("/readyz")).send().await.unwrap_err().is_connect());
    let slow = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let plain = format!("http://{}/readyz", served.address);
    assert!(client.get(plain).send().await.is_err());
    assert_eq!(client.get(url("/healthz")).send().await.unwrap().status(), 200);
    drop(slow);

    // The files are read again when the process is told to; a pair that can't be used changes nothing.
    pair.renew();
    let renewed = pair.client();
    assert!(renewed.get(url("/readyz")).send().await.is_err());
    served.tell(Signal::SIGHUP);
    served.says("The certificate was read again").await;
    assert_eq!(renewed.get(url("/readyz")).send().await.unwrap().status(), 200);
    fs::write(pair.key(), "no key").unwrap();
    served.tell(Signal::SIGHUP);
    served.says("the certificate stays the one before").await;
    assert_eq!(renewed.get(url("/readyz")).send().await.unwrap().status(), 200);
    assert!(served.stop().await.contains("txcat: stopped"));
}

/// What `serve` says of such files, without a database in reach.
fn serve(arguments: &[&str]) -> Said {
    txcat(&["serve", "--bind", "127.0.0.1:0"]).args(arguments).on(NOWHERE).run()
}

#[test]
fn a_pair_that_does_not_go_together_or_is_not_there_is_refused_with_one_sentence() {
    let (ours, other) = (Pair::new(), Pair::new());
    let told = serve(&["--tls-certificate", &ours.certificate(), "--tls-key", &other.key()]).refused(1);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(&format!("can't be used with the key in {}", other.key())), "{told}");
    let told = serve(&["--tls-certificate", &ours.path("nothing.pem"), "--tls-key", &ours.key()]).refused(1);
    assert!(told.lines().count() == 1 && told.contains("nothing.pem holds no certificate in PEM"), "{told}");
    let told = serve(&["--tls-certificate", &ours.certificate(), "--tls-key", &ours.certificate()]).refused(1);
    assert!(told.lines().count() == 1 && told.contains("holds no private key in PEM"), "{told}");
    let told = serve(&["--tls-certificate", &ours.key(), "--tls-key", &ours.key()]).refused(1);
    assert!(told.lines().count() == 1 && told.contains("holds no certificate in PEM"), "{told}");
    for alone in ["--tls-certificate", "--tls-key"] {
        let told = serve(&[alone, &ours.certificate()]).refused(2);
        assert!(told.contains("required"), "{told}");
    }
}
