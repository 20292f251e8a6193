//! The encoder in fewer bits, forward only: what serves where an adapter's guard allows it.
//!
//! What products read is in bytes or in bf16 ([`Format`]), and everything between the products is `f32`. A batch's sequences lie one after the other without padding. The
//! reference is `packed`, and `tests.rs` holds this against it: on every instruction set that the machine has.

mod attend;
mod crew;
mod frozen;
mod isa;
mod lanes;
mod lowrank;
mod meet;
mod model;
mod number;
mod pages;
mod panels;
mod product;
mod rows;
#[cfg(test)]
mod tests;

pub(super) use self::{
    crew::{Crew, Group},
    frozen::FrozenWeight,
    lowrank::LowRank,
    model::Model,
};
pub use self::{
    isa::{in_use, limit},
    number::Format,
};
