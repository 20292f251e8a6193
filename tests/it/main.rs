//! One integration binary: real Postgres, real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod adapters;
mod advice;
mod api;
mod backup;
mod bank;
mod chat;
#[cfg(feature = "cluster")]
mod cluster;
mod command_line;
mod compare;
mod contract;
mod curate;
mod database;
mod datasets;
mod degraded;
mod deploy;
mod descriptors;
mod desk;
mod directions;
mod doctor;
mod embedded;
mod encoders;
mod enrichment;
mod finetune;
mod fitted;
mod gguf;
mod harness;
mod history;
mod house;
mod import;
mod jobs;
mod levels;
mod llama_server;
mod model;
mod peft;
mod privacy;
mod provider;
mod recategorize;
mod selection;
mod source;
mod stages;
mod store;
mod taxonomies;
mod tls;
mod traces;
mod tracker;
