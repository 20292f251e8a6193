//! Settings in sections, each a set of command-line options: flag, then environment, then default.

use std::{fmt, net::SocketAddr, path::PathBuf};

use clap::Args;

/// Which Postgres.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// Postgres to use. Without one, a private Postgres is started in the data folder.
    #[arg(
        id = "database_url",
        long = "database-url",
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    pub url: Option<Secret>,

    /// Where txcat keeps its private Postgres and what it downloads.
    /// [default: the XDG data folder, or /var/lib/txcat for root]
    #[arg(long = "data-dir", env = "TXCAT_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,

    /// Most connections held open.
    #[arg(long = "database-connections", env = "TXCAT_DATABASE_CONNECTIONS", value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1_000), global = true)]
    pub max_connections: u32,
}

/// Which models and prompts, and where.
#[derive(Debug, Clone, Args)]
pub struct Models {
    /// Folder of the base encoders, and of the manifest.toml that lists them.
    #[arg(
        id = "models_dir",
        long = "models-dir",
        env = "TXCAT_MODELS_DIR",
        value_name = "DIR",
        default_value = "models",
        global = true
    )]
    pub dir: PathBuf,

    /// The base encoder, by its name in the manifest. [default: the manifest's first]
    #[arg(long, env = "TXCAT_ENCODER", value_name = "NAME", global = true)]
    pub encoder: Option<String>,

    /// A local copy of the base encoder (config.json, tokenizer.json, model.safetensors) to use instead of fetching it.
    #[arg(long, env = "TXCAT_ENCODER_DIR", value_name = "DIR", global = true)]
    pub encoder_dir: Option<PathBuf>,
}

/// How models compute.
#[derive(Debug, Clone, Args)]
pub struct Compute {
    /// What adapters compute in: `int8` is faster than `f32`, several times with AVX-512 VNNI or AMX, `bf16` faster where the machine
    /// has instructions for it, and `auto` takes either only where the adapter's own figures on dev show that it costs nothing.
    #[arg(long, env = "TXCAT_PRECISION", value_enum, default_value_t, global = true)]
    pub precision: Precision,

    /// The fastest instructions that int8 and bf16 may be computed with, to measure what they give or to do without them; what the
    /// machine lacks, it does without. [default: the fastest that the machine has]
    #[arg(long, env = "TXCAT_INSTRUCTIONS", value_enum, value_name = "NAME", global = true)]
    pub instructions: Option<Instructions>,
}

/// What an adapter computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// `int8` where the adapter was measured in it and lost nothing, else `bf16` likewise where this machine has
    /// instructions for it, else `f32`.
    #[default]
    Auto,
    /// Numbers of 32 bits: the reference.
    F32,
    /// Weights and activations in bytes. An adapter that was not measured so, or lost by it, is refused.
    Int8,
    /// Weights and activations in 16 bits. An adapter that was not measured so, or lost by it, is refused.
    Bf16,
}

/// Instructions that the encoder's products are computed with, the slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Instructions {
    /// Plain Rust.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 with VNNI: four products of bytes are one instruction.
    Avx512,
    /// That, and two products in bf16 are one instruction.
    Avx512Bf16,
    /// That, and tiles: products of bytes and of bf16, sixteen rows at a time.
    Amx,
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512 VNNI",
            Self::Avx512Bf16 => "AVX-512 VNNI and BF16",
            Self::Amx => "AMX",
        })
    }
}

/// Which chat model, if any.
#[derive(Debug, Clone, Args)]
pub struct Chat {
    /// The chat model that prompt stages ask, by its name in the chat model file. [default: none, and they answer by
    /// nearest example]
    #[arg(id = "chat_model", long = "chat-model", env = "TXCAT_CHAT_MODEL", value_name = "NAME", global = true)]
    pub model: Option<String>,

    /// The file that lists chat models, with limits, prices and budgets.
    #[arg(
        id = "chat_models",
        long = "chat-models",
        env = "TXCAT_CHAT_MODELS",
        value_name = "FILE",
        default_value = "models/chat.toml",
        global = true
    )]
    pub file: PathBuf,
}

/// Where to listen.
#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// Address to listen on. Any address but loopback needs an API key in the database.
    #[arg(long, env = "TXCAT_BIND", default_value = "127.0.0.1:8080")]
    pub bind: SocketAddr,

    /// Requests a minute that an API key may make where it has no limit of its own; 0 for as many as come. Each server counts for
    /// itself.
    #[arg(long, env = "TXCAT_REQUESTS_PER_MINUTE", value_name = "N", default_value_t = 12_000)]
    pub requests_per_minute: u32,

    /// Speak HTTPS with the certificate in this PEM file, which may be followed by those that lead to its authority. Read again on
    /// SIGHUP.
    #[arg(long, env = "TXCAT_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The certificate's private key, in PEM.
    #[arg(long, env = "TXCAT_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

/// A provider of OpenID Connect that people may sign in by.
#[derive(Debug, Clone, Default, Args)]
pub struct Oidc {
    /// Let people sign in by this provider of OpenID Connect too: its address, as its tokens have it. Only those come in whom
    /// `txcat people link` names. The client's secret is read from `TXCAT_OIDC_CLIENT_SECRET` or --oidc-client-secret-file; a public
    /// client has none.
    #[arg(
        long = "oidc-issuer",
        env = "TXCAT_OIDC_ISSUER",
        value_name = "URL",
        requires = "oidc_client_id",
        requires = "public_url"
    )]
    pub oidc_issuer: Option<String>,

    /// What the provider calls this service.
    #[arg(long, env = "TXCAT_OIDC_CLIENT_ID", value_name = "ID", requires = "oidc_issuer")]
    pub oidc_client_id: Option<String>,

    /// A file that holds the secret which the provider gave this service.
    #[arg(long, env = "TXCAT_OIDC_CLIENT_SECRET_FILE", value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_client_secret_file: Option<PathBuf>,

    /// Where people reach the pages, such as `https://txcat.bank.example`. The provider must know /sign-in/oidc/callback under it as an
    /// address to send people back to.
    #[arg(long, env = "TXCAT_PUBLIC_URL", value_name = "URL", requires = "oidc_issuer")]
    pub public_url: Option<String>,
}

impl Oidc {
    /// The variable with the client's secret: on a command line others would see it.
    pub const CLIENT_SECRET: &str = "TXCAT_OIDC_CLIENT_SECRET";
}

/// How jobs are worked on: what is asked for over HTTP, and what begins by the clock.
#[derive(Debug, Clone, Args)]
pub struct Work {
    /// A file of cron lines, in UTC, which begin recategorizations: `txcat jobs cron` explains and checks it. Give all
    /// workers the same; each line is taken up once.
    #[arg(long, env = "TXCAT_CRON", value_name = "FILE")]
    pub cron: Option<PathBuf>,

    /// How long a worker that died keeps its jobs: seconds without a heartbeat until others take them up.
    #[arg(long, env = "TXCAT_LEASE", value_name = "SECONDS", default_value_t = Work::LEASE,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub lease: u64,

    /// How long jobs may go on when the process is told to stop; what takes longer is handed to others at once.
    #[arg(long, env = "TXCAT_DRAIN", value_name = "SECONDS", default_value_t = Work::DRAIN)]
    pub drain: u64,
}

impl Work {
    const LEASE: u64 = 30;
    const DRAIN: u64 = 30;
}

impl Default for Work {
    fn default() -> Self {
        Self { cron: None, lease: Self::LEASE, drain: Self::DRAIN }
    }
}

/// A setting that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
