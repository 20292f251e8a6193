//! Prompt folders, versioned by content.
