//! One integration binary: real Postgres, real HTTP.

mod directions;
mod house;
mod source;
