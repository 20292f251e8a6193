//! Where files lie: this machine's disks, and buckets that speak S3.
//!
//! A bucket is opened when it is first asked for, with what the process's own environment says (`AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, or what the machine's role gives). No
//! credential travels with a query.

use std::sync::Arc;

use datafusion::{
    error::{DataFusionError, Result},
    execution::{
        object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
};
use object_store::{ObjectStore, aws::AmazonS3Builder};
use url::Url;

/// The stores of a process.
#[derive(Debug, Default)]
pub(super) struct Stores(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let known = self.0.get_store(url);
        if known.is_ok() || url.scheme() != "s3" {
            return known;
        }
        let bucket = AmazonS3Builder::from_env().with_url(url.as_str()).build();
        let bucket: Arc<dyn ObjectStore> = Arc::new(bucket.map_err(DataFusionError::from)?);
        self.register_store(url, Arc::clone(&bucket));
        Ok(bucket)
    }
}

/// What a session runs in: these stores, and what else `made` says.
pub(super) fn runtime(made: RuntimeEnvBuilder) -> Result<Arc<RuntimeEnv>> {
    made.with_object_store_registry(Arc::new(Stores::default())).build_arc()
}
