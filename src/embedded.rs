//! Finds or starts the Postgres that a laptop or a test uses.
