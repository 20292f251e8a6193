//! The way of a transaction: ingest, enrich, categorize, route, record.
