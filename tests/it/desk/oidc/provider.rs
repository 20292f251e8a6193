//! A provider of OpenID Connect by script: discovery, keys, a page that lets everybody through, and tokens signed with its own keys.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD as URL};
use hmac::{Hmac, Mac as _};
use rcgen::{KeyPair, SigningKey as _};
use rsa::{
    RsaPrivateKey,
    signature::{SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::oneshot};
use txcat::{access::OidcSettings, clock};

pub(super) const CLIENT: &str = "txcat-desk";
pub(super) const SECRET: &str = "a secret:of the client";

/// Takes a moment to make: one is enough for all tests.
static RSA: LazyLock<RsaPrivateKey> = LazyLock::new(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap());

/// How a token is signed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Signed {
    /// With the provider's key, as most do.
    Rs256,
    /// With another key of the provider.
    EdDsa,
    /// With somebody else's key, under the name of the provider's.
    Foreign,
    /// With the client's secret, under the name of nobody's key.
    Hs256,
    /// Not at all.
    None,
}

/// What it does.
pub(super) struct Script {
    pub(super) signed: Signed,
    /// The keys that it shows.
    pub(super) shows: &'static [Signed],
    /// Whom it lets through.
    pub(super) subject: String,
    /// What is put over the token's claims.
    pub(super) claims: Value,
    /// Answers everything with this.
    pub(super) down: Option<StatusCode>,
    /// By code: what the browser came with.
    codes: HashMap<String, HashMap<String, String>>,
    /// How often it was asked for what it says of itself.
    pub(super) discovered: usize,
    eddsa: KeyPair,
}

/// A running provider. It stops when dropped.
pub(super) struct Provider {
    pub(super) issuer: String,
    script: Arc<Mutex<Script>>,
    _stop: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Shared {
    issuer: String,
    script: Arc<Mutex<Script>>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script {
            signed: Signed::Rs256,
            shows: &[Signed::Rs256],
            subject: "anna@provider".to_owned(),
            claims: json!({}),
            down: None,
            codes: HashMap::new(),
            discovered: 0,
            eddsa: KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discover))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Shared { issuer: issuer.clone(), script: Arc::clone(&script) });
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            axum::serve(listener, router).with_graceful_shutdown(stop).await.unwrap();
        });
        Self { issuer, script, _stop: stop }
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Script) -> T) -> T {
        work(&mut self.script.lock().unwrap())
    }

    /// What a service says that people sign in to by it, at this address.
    pub(super) fn settings(&self, public_url: &str) -> OidcSettings {
        OidcSettings {
            issuer: self.issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(SECRET.to_owned().into()),
            redirect: format!("{public_url}{}", txcat::http::OIDC_CALLBACK),
        }
    }
}

impl Shared {
    fn up<T>(&self, work: impl FnOnce(&mut Script) -> T) -> Result<T, StatusCode> {
        let mut script = self.script.lock().unwrap();
        script.down.map_or_else(|| Ok(work(&mut script)), Err)
    }
}

async fn discover(State(shared): State<Shared>) -> Result<Json<Value>, StatusCode> {
    shared.up(|script| script.discovered += 1)?;
    let issuer = &shared.issuer;
    Ok(Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "EdDSA", "HS256", "none"],
    })))
}

async fn keys(State(shared): State<Shared>) -> Result<Json<Value>, StatusCode> {
    shared.up(|script| {
        let key = |signed: &Signed| match signed {
            Signed::Rs256 => json!({
                "kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256",
                "n": URL.encode(RSA.n().to_bytes_be()), "e": URL.encode(RSA.e().to_bytes_be()),
            }),
            _ => json!({
                "kty": "OKP", "kid": "two", "use": "sig", "alg": "EdDSA", "crv": "Ed25519",
                "x": URL.encode(script.eddsa.public_key_raw()),
            }),
        };
        Json(json!({ "keys": script.shows.iter().map(key).collect::<Vec<_>>() }))
    })
}

/// Lets everybody through, who has signed in there before.
async fn authorize(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Redirect, StatusCode> {
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["client_id"], CLIENT);
    assert_eq!(query["scope"], "openid");
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(query["state"].len() >= 43 && query["nonce"].len() >= 43, "short enough to be guessed: {query:?}");
    let back = query["redirect_uri"].clone();
    let state = query["state"].clone();
    shared.up(|script| {
        let code = format!("code-{}", script.codes.len());
        script.codes.insert(code.clone(), query);
        Redirect::to(&format!("{back}?code={code}&state={state}"))
    })
}

async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Result<Response, StatusCode> {
    let issuer = shared.issuer.clone();
    shared.up(|script| {
        let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
        // The secret as RFC 6749 has it: encoded as in a form, and then in base 64.
        let basic = BASE64_STANDARD.encode(format!("{CLIENT}:a+secret%3Aof+the+client"));
        if headers[header::AUTHORIZATION] != format!("Basic {basic}") {
            return refused("invalid_client");
        }
        // A code stands for itself as often as it comes: it is the service that takes it once.
        let Some(begun) = script.codes.get(&form["code"]) else { return refused("invalid_grant") };
        let shown = URL.encode(Sha256::digest(&form["code_verifier"]));
        if begun["code_challenge"] != shown || begun["redirect_uri"] != form["redirect_uri"] {
            return refused("invalid_grant");
        }
        let now = clock::now().timestamp();
        let mut claims = json!({
            "iss": issuer, "sub": script.subject, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": begun["nonce"],
        });
        claims.as_object_mut().unwrap().extend(script.claims.as_object().unwrap().clone());
        let token = sign(script, &claims);
        Json(json!({ "access_token": "unused", "token_type": "Bearer", "id_token": token })).into_response()
    })
}

fn sign(script: &Script, claims: &Value) -> String {
    let header = match script.signed {
        Signed::Rs256 | Signed::Foreign => json!({ "alg": "RS256", "typ": "JWT", "kid": "one" }),
        Signed::EdDsa => json!({ "alg": "EdDSA", "typ": "JWT", "kid": "two" }),
        Signed::Hs256 => json!({ "alg": "HS256", "typ": "JWT" }),
        Signed::None => json!({ "alg": "none", "typ": "JWT" }),
    };
    let text = format!("{}.{}", URL.encode(header.to_string()), URL.encode(claims.to_string()));
    let by = |key: &RsaPrivateKey| rsa::pkcs1v15::SigningKey::<Sha256>::new(key.clone()).sign(text.as_bytes()).to_vec();
    let signature = match script.signed {
        Signed::Rs256 => by(&RSA),
        Signed::Foreign => by(&RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap()),
        Signed::EdDsa => script.eddsa.sign(text.as_bytes()).unwrap(),
        Signed::Hs256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }
        Signed::None => Vec::new(),
    };
    format!("{text}.{}", URL.encode(signature))
}
