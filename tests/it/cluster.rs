//! Folders of Parquet files, categorized by one process and by a cluster of real ones.

mod alone;
mod bucket;
mod places;
mod together;
