//! Errors in words, for logs and reports.

use std::error::Error;

/// An error and what caused it, outermost first.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut said = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    said.join(": ")
}
