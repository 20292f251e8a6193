//! Data sets, metrics, eval runs.
