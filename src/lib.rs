//! `txcat` categorizes bank transactions, and tells the team that runs it which lever to pull next
//! to categorize them better.
//!
//! The map, in dependency order; `ARCHITECTURE.md` walks one transaction through it.
//!
//! | module | what |
//! |---|---|
//! | [`domain`] | what a transaction, a category and a prediction are; pure |
//! | [`config`], [`clock`], [`outbound`], [`causes`] | settings: flag, then environment, then default; the wall clock; where HTTP clients begin; errors in words |
//! | [`spans`], [`telemetry`] | what a trace tells, and where log and traces go |
//! | [`embedded`] | finds or starts the Postgres that a laptop or a test uses |
//! | [`store`] | all the SQL |
//! | [`access`] | who is asking, and what they may do |
//! | [`privacy`] | one account as a whole: what is known of it, its erasure; how long rows are kept |
//! | [`model`] | base encoder, LoRA adapters, training; nobody outside sees a tensor |
//! | [`llm`] | chat models on their wire formats: limits, second tries, prices, what may leave the machine |
//! | [`prompt`] | prompt folders, versioned by content |
//! | [`spend`] | calls to paid models booked before they are made, so that no budget is passed |
//! | [`enrich`] | merchant directory, user history and labelled transactions around a transaction |
//! | [`categorize`] | the trait `Categorizer` and the engines behind the stages |
//! | [`pipeline`] | the way of a transaction: ingest, enrich, categorize, route, record |
//! | [`evaluate`] | data sets, metrics, eval runs and what they show |
//! | [`curate`] | the label gate: what is wrong with a labelled set; what to label next |
//! | `cluster` | folders of Parquet files, here or on a Ballista cluster (with the feature of that name) |
//! | [`recategorize`] | stored transactions categorized anew: previewed, applied, undone |
//! | [`review`] | the analyst's desk: leases, decisions with what they change, undo |
//! | [`adapters`] | the registry, promotion on evidence, rollback |
//! | [`finetune`] | managed fine-tuning: training files for providers, and the jobs that train on them |
//! | [`experiments`] | what labels are worth: how many, which, how clean, how few a quarter |
//! | [`advise`] | which lever to pull next, with what it costs and what it rests on |
//! | [`signature`] | what webhooks are signed with |
//! | [`events`] | the feed of changes, and the endpoints that are told of them |
//! | [`jobs`] | work that a queue in Postgres hands to workers, and cron lines |
//! | [`web`] | what pages look like: templates, charts, scripts |
//! | [`http`] | the JSON API, and the routes of the pages |
//! | [`cli`] | one file per subcommand |

pub mod access;
pub mod adapters;
pub mod advise;
pub mod categorize;
pub mod causes;
pub mod cli;
pub mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod config;
pub mod curate;
pub mod domain;
pub mod embedded;
pub mod enrich;
pub mod evaluate;
pub mod events;
pub mod experiments;
pub mod finetune;
pub mod http;
pub mod jobs;
pub mod llm;
pub mod model;
pub mod outbound;
pub mod pipeline;
pub mod privacy;
pub mod prompt;
pub mod recategorize;
pub mod review;
pub mod signature;
pub mod spans;
pub mod spend;
pub mod store;
pub mod telemetry;
pub mod web;
