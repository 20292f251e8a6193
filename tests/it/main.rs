//! One integration binary: real Postgres, real HTTP.
