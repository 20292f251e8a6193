//! The merchant directory: who stands behind a statement text, and what kind of business that is.
//!
//! A table of brands ships inside the binary ([`table::shipped`]: compiled from the
//! name-suggestion-index by [`nsi`], curated by [`kinds`], with our own additions), a team can add its
//! own, and [`MerchantIndex`] finds them in texts. Not a categorizer: it reports what it found and
//! how sure it is, and the stages decide what that means.

mod index;
pub mod kinds;
mod near;
pub mod nsi;
mod score;
mod squash;
pub mod table;
mod words;

pub use index::{ACCEPT_AT, Candidate, MerchantIndex, country_of};
pub use score::Note;
