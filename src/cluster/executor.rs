//! An executor of a cluster: reads rows, asks its adapters, writes answers.

use std::{
    net::{IpAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use super::{Engines, Error, function::function, session::address, stores::runtime};

/// An executor, not running yet.
#[derive(Debug)]
pub struct Executor {
    /// The scheduler that it works for, such as `df://127.0.0.1:50050`.
    pub scheduler: String,
    /// The address that it listens on.
    pub listen: IpAddr,
    /// The host name or address that scheduler, clients and other executors call it by.
    pub host: Option<String>,
    /// Tasks at the same time.
    pub tasks: usize,
    /// Seconds between two signs of life.
    pub sign_every: u64,
    /// Where parts of answers lie until they are written.
    pub work_dir: PathBuf,
}

impl Executor {
    /// Works until the process is told to end (interrupt or terminate).
    ///
    /// # Errors
    /// When the scheduler can't be reached or a port can't be had.
    pub async fn run(self, engines: Arc<Engines>) -> Result<(), Error> {
        let (scheduler_host, scheduler_port) = address(&self.scheduler)?;
        let categorize = function(Some(engines));
        let mut functions = BallistaFunctionRegistry::default();
        functions.scalar_functions.insert(categorize.name().to_owned(), categorize);
        let spill = self.work_dir.clone();
        let (port, grpc_port) = free_ports(self.listen)?;
        let config = ExecutorProcessConfig {
            bind_host: self.listen.to_string(),
            external_host: self.host.or_else(|| (!self.listen.is_unspecified()).then(|| self.listen.to_string())),
            port,
            grpc_port,
            scheduler_host,
            scheduler_port,
            scheduler_connect_timeout_seconds: 30,
            vcores: self.tasks,
            work_dir: Some(self.work_dir.to_string_lossy().into_owned()),
            executor_heartbeat_interval_seconds: self.sign_every,
            override_function_registry: Some(Arc::new(functions)),
            override_runtime_producer: Some(Arc::new(move |_| {
                runtime(RuntimeEnvBuilder::new().with_temp_file_path(spill.clone()))
            })),
            ..ExecutorProcessConfig::default()
        };
        let ended = |source| Error::Ballista { part: "executor", source: Box::new(source) };
        start_executor_process(Arc::new(config)).await.map_err(ended)
    }
}

/// Two ports that are free now: Ballista tells the scheduler the numbers that it is given, so they can't be 0.
fn free_ports(host: IpAddr) -> Result<(u16, u16), Error> {
    let failed = |source| Error::Listen { host: host.to_string(), source };
    // Both are held until both are known, or they might be one.
    let held = [TcpListener::bind((host, 0)).map_err(failed)?, TcpListener::bind((host, 0)).map_err(failed)?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).map_err(failed);
    Ok((port(&held[0])?, port(&held[1])?))
}
