//! One integration binary: real Postgres, real HTTP.

mod api;
mod database;
mod datasets;
mod descriptors;
mod directions;
mod embedded;
mod harness;
mod history;
mod house;
mod import;
mod model;
mod source;
mod stages;
mod store;
mod taxonomies;
