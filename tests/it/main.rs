//! One integration binary: real Postgres, real HTTP.

mod datasets;
mod directions;
mod house;
mod source;
