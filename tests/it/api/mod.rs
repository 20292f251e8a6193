//! The JSON API over real HTTP, each test on a database of its own.

mod access;
mod audit;
mod corrections;
mod datasets;
mod document;
mod hostile;
mod idempotency;
mod ingest;
mod limits;
mod lists;
mod logs;
mod problems;
pub(crate) mod schema;
mod timing;
