//! The JSON API over real HTTP, each test on a database of its own.

mod access;
mod corrections;
mod datasets;
mod document;
mod ingest;
mod lists;
mod logs;
mod problems;
pub(crate) mod schema;
