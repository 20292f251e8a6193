//! One integration binary: real Postgres, real HTTP.

mod database;
mod datasets;
mod directions;
mod embedded;
mod house;
mod source;
