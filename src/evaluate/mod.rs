//! Data sets, metrics, eval runs: what was measured, on which rows, with which labels.
//!
//! [`dataset`] reads a folder, [`labels`] chooses which rows' labels are bought, [`corpus`] joins the
//! two into what training and evaluation may know; [`run`] puts stages to a file's rows, [`peers`]
//! reads what other programs answered, [`promise`] holds live answers against their confidence levels, [`watch`] notices from
//! [`drift`] that accuracy has fallen, [`metrics`], [`paired`] and
//! [`resample`] do the arithmetic, [`report`] prints. [`tracker`] reads stored runs back as figures, [`thresholds`] says whether
//! a stage has fallen, [`page`] writes reports and [`export`] what other trackers read.

mod binomial;
pub mod cascade;
pub mod columns;
pub mod corpus;
pub mod dataset;
pub mod demo;
pub mod drift;
pub mod export;
pub mod labels;
pub mod market;
pub mod metrics;
pub mod page;
pub mod paired;
pub mod peers;
pub mod pool;
pub mod promise;
pub mod report;
pub mod resample;
pub mod run;
pub mod scored;
pub mod thresholds;
pub mod timelines;
pub mod tracker;
pub mod watch;
pub mod written;
