//! The trait `Categorizer` and the engines behind the stages.
