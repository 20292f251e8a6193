//! Labels: what is wrong with those that are there, and which to buy next.
//!
//! The label gate speaks before anything learns from a set: [`set`] gathers the labelled rows of a folder or of the store, [`gate`] puts every check to them and
//! gives a [`report`] with the rows behind each finding and a [`manifest`] that training asks for. The
//! checks are pure functions over the set; what lies around it (test files, recent traffic) is handed
//! to them. No check reads a test file's labels. [`select`] picks what to label next among [`offers`].

pub mod agreement;
pub mod around;
pub mod confident;
pub mod counts;
pub mod experiment;
pub mod gate;
pub mod manifest;
pub mod offers;
pub mod opinions;
pub mod pii;
pub mod record;
pub mod report;
pub mod rows;
pub mod select;
pub mod set;
pub mod suspects;
pub mod twins;

pub use gate::{Outcome, Settings, check};
pub use manifest::Manifest;
pub use report::{Check, Flag, LabelReport, Level};
pub use set::{LabelledSet, Which};
