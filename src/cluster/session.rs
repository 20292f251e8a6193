//! Who carries queries out: this process, or a cluster. The settings are the same, and so are the queries.

use std::time::Duration;

use ballista::prelude::SessionContextExt as _;
use ballista_core::extension::SessionConfigExt as _;
use datafusion::{
    execution::{SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    prelude::{SessionConfig, SessionContext},
};
use tokio::{net::TcpStream, time::timeout};
use url::Url;

use super::{Error, stores::runtime};

/// Queries run in this process.
///
/// # Errors
/// When DataFusion can't be set up.
pub fn alone() -> Result<SessionContext, Error> {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config())
        .with_runtime_env(runtime(RuntimeEnvBuilder::new()).map_err(setup)?);
    Ok(SessionContext::new_with_state(state.build()))
}

/// Seconds in which a scheduler must take a connection.
const CONNECT: u64 = 10;

/// Queries run on the cluster of a scheduler, in at most so many tasks a file.
///
/// # Errors
/// When the address is none, nobody listens there, or DataFusion can't be set up.
pub async fn on_cluster(scheduler: &str, tasks: usize) -> Result<SessionContext, Error> {
    // Ballista connects with the first query, and says it in its own words when it can't.
    let unreachable = |source| Error::Unreachable { address: scheduler.to_owned(), source };
    timeout(Duration::from_secs(CONNECT), TcpStream::connect(address(scheduler)?))
        .await
        .unwrap_or_else(|late| Err(late.into()))
        .map_err(unreachable)?;
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config().with_target_partitions(tasks))
        .with_runtime_env(runtime(RuntimeEnvBuilder::new()).map_err(setup)?);
    SessionContext::remote_with_state(scheduler, state.build()).await.map_err(setup)
}

/// Host and port of a scheduler.
pub(super) fn address(scheduler: &str) -> Result<(String, u16), Error> {
    let none = || Error::Address { address: scheduler.to_owned() };
    let url = Url::parse(scheduler).map_err(|_| none())?;
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => Ok((host.to_owned(), port)),
        _ => Err(none()),
    }
}

fn config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_target_partitions(std::thread::available_parallelism().map_or(1, Into::into))
        // Else each part of an answer that is used is pushed down into a call of its own, and a row is asked about six
        // times: asynchronous calls are not told to be the same one.
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
        // Files may lie in folders of the folder.
        .set_bool("datafusion.execution.listing_table_ignore_subdirectory", false)
}

fn setup(source: datafusion::error::DataFusionError) -> Error {
    Error::Session(Box::new(source))
}
