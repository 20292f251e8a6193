//! The scheduler of a cluster: takes queries, splits them into tasks, gives these to executors, and again to another
//! one where an executor is lost. It reads no row and holds no adapter.

use std::{net::SocketAddr, sync::Arc};

use ballista_core::utils::default_session_builder;
use ballista_scheduler::{
    cluster::BallistaCluster,
    config::{SchedulerConfig, TaskDistributionPolicy},
    scheduler_process::{create_scheduler, start_grpc_service_with_listener},
};
use datafusion::execution::{FunctionRegistry as _, SessionStateBuilder, runtime_env::RuntimeEnvBuilder};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;

use super::{Error, function::function, stores::runtime};

/// A scheduler, not running yet.
#[derive(Debug)]
pub struct Scheduler {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The host name or address that executors call it by.
    pub host: Option<String>,
    /// Executors without which `/readyz` says no.
    pub executors: usize,
    /// Seconds without a sign after which an executor counts as lost.
    pub lost_after: u64,
}

impl Scheduler {
    /// Serves until the process ends. `ready` hears the address that it listens on.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn run(self, ready: impl FnOnce(SocketAddr)) -> Result<(), Error> {
        let failed = |source| Error::Listen { host: self.listen.to_string(), source };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let config = SchedulerConfig {
            external_host: self.host.unwrap_or_else(|| address.ip().to_string()),
            bind_host: address.ip().to_string(),
            bind_port: address.port(),
            task_distribution: TaskDistributionPolicy::RoundRobin,
            executor_timeout_seconds: self.lost_after,
            expire_dead_executor_interval_seconds: (self.lost_after / 4).max(1),
            no_executors_grace_period_seconds: self.lost_after,
            min_ready_executors: self.executors,
            override_session_builder: Some(Arc::new(|config| {
                let state = SessionStateBuilder::new_from_existing(default_session_builder(config)?);
                let mut state = state.with_runtime_env(runtime(RuntimeEnvBuilder::new())?).build();
                state.register_udf(function(None))?;
                Ok(state)
            })),
            ..SchedulerConfig::default()
        };
        let ended = |source| Error::Ballista { part: "scheduler", source: Box::new(source) };
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(ended)?;
        let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config));
        let scheduler = scheduler.await.map_err(ended)?;
        ready(address);
        start_grpc_service_with_listener(listener, scheduler).await.map_err(ended)
    }
}
