//! One integration binary: real Postgres, real HTTP.

mod api;
mod database;
mod datasets;
mod directions;
mod embedded;
mod harness;
mod house;
mod import;
mod source;
mod stages;
mod store;
