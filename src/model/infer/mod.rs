//! The encoder in bytes, forward only: what serves where an adapter's guard allows it.
//!
//! Weights are bytes for each output, activations bytes for each token and slice; sums are exact integers, and
//! everything between the products is `f32`. A batch's sequences lie one after the other without padding. The
//! reference is `packed`, and `tests.rs` holds this against it: on every instruction set that the machine has.

mod attend;
mod crew;
mod isa;
mod lanes;
mod lowrank;
mod meet;
mod model;
mod pages;
mod panels;
mod product;
mod rows;
#[cfg(test)]
mod tests;

pub(super) use self::{
    crew::{Crew, Group},
    lowrank::LowRank,
    model::Model,
};
