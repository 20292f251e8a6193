//! How the threads of a crew meet, in every order that loom can think of: `src/model/infer/crew.rs` itself, with weights that only
//! add tokens up.
//!
//! ```sh
//! cargo test --manifest-path tests/crew/Cargo.toml
//! ```
//!
//! The crew has no `unsafe`, so two threads can't write to one place; what is shown here is that no order of steps loses a call,
//! leaves a block out, computes one twice, gives rows of another batch, or waits for ever. Orders with more than
//! `PREEMPTIONS` interruptions of a thread that could have gone on are left out.
#![cfg(test)]
#![expect(dead_code, reason = "the crew is used here in part")]

#[path = "."]
mod model {
    use loom::sync::{Mutex, MutexGuard};

    fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
        lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[path = "."]
    mod infer {
        #[path = "../../src/model/infer/crew.rs"]
        mod crew;

        /// In the standard library's place.
        mod meet {
            pub(super) use loom::{
                sync::{
                    Arc, Condvar, Mutex, RwLock,
                    atomic::{AtomicUsize, Ordering},
                },
                thread::{Builder, JoinHandle},
            };
            pub(super) use std::sync::PoisonError;
        }

        mod isa {
            use super::number::Format;

            #[derive(Debug, Clone, Copy)]
            pub(in crate::model) struct Isa;

            #[derive(Debug, Clone, Copy)]
            pub(in crate::model) struct Instructions;

            impl Isa {
                pub(super) fn fastest() -> Self {
                    Self
                }

                pub(super) fn instructions(self) -> Instructions {
                    Instructions
                }

                pub(super) fn probe(self, _: Format) -> usize {
                    1
                }
            }
        }

        mod lowrank {
            pub(in crate::model) struct LowRank;
        }

        mod number {
            #[derive(Debug, Clone, Copy)]
            pub(in crate::model) struct Format;
        }

        mod model {
            use loom::sync::{
                Arc,
                atomic::{AtomicUsize, Ordering},
            };

            use super::{isa::Isa, lowrank::LowRank};

            #[derive(Default)]
            pub(super) struct Scratch;

            #[derive(Clone, Copy)]
            pub(super) struct Block<'a> {
                pub(super) ids: &'a [u32],
                pub(super) sequences: &'a [(usize, Option<usize>)],
                pub(super) adapters: &'a [Arc<LowRank>],
            }

            /// Counts the blocks that were computed with it.
            pub(in crate::model) struct Model(pub(super) AtomicUsize);

            impl Model {
                pub(super) fn hidden(&self) -> usize {
                    1
                }

                pub(super) fn pooled(&self, _: Isa, block: Block<'_>, _: &mut Scratch, out: &mut [f32]) {
                    self.0.fetch_add(1, Ordering::Relaxed);
                    let mut rest = block.ids;
                    for ((tokens, adapter), out) in block.sequences.iter().zip(out) {
                        let (own, others) = rest.split_at(*tokens);
                        *out = own.iter().sum::<u32>() as f32 + if adapter.is_some() { 0.5 } else { 0.0 };
                        rest = others;
                    }
                    assert!(rest.is_empty() && adapters_are_there(block));
                }
            }

            fn adapters_are_there(block: Block<'_>) -> bool {
                block.sequences.iter().all(|(_, adapter)| adapter.is_none_or(|at| at < block.adapters.len()))
            }
        }

        mod tests {
            use loom::{
                sync::{
                    Arc,
                    atomic::{AtomicUsize, Ordering},
                },
                thread,
            };

            use super::{
                crew::{Crew, Group},
                isa::Isa,
                lowrank::LowRank,
                model::Model,
            };

            const PREEMPTIONS: usize = 3;

            fn in_every_order(preemptions: usize, what: impl Fn() + Sync + Send + 'static) {
                let mut builder = loom::model::Builder::new();
                builder.preemption_bound = Some(preemptions);
                builder.max_branches = 20_000;
                builder.check(what);
            }

            /// Two rows of so many tokens that each is a block, one of them with an adapter, and what comes out.
            fn ask(crew: &Crew, model: &Arc<Model>, adapter: &Arc<LowRank>, token: u32) {
                let (first, second) = ([vec![token; 16]], [vec![10 * token; 16]]);
                let groups = [
                    Group { adapter: None, sequences: &first },
                    Group { adapter: Some(adapter), sequences: &second },
                ];
                let mut out = vec![-1.0];
                crew.pooled(model, &groups, &mut out);
                assert_eq!(out, [16.0 * token as f32, 160.0 * token as f32 + 0.5]);
            }

            #[test]
            fn every_block_of_every_batch_is_computed_once() {
                in_every_order(PREEMPTIONS, || {
                    let (model, adapter) = (Arc::new(Model(AtomicUsize::new(0))), Arc::new(LowRank));
                    let crew = Crew::of(2, Isa);
                    ask(&crew, &model, &adapter, 1);
                    ask(&crew, &model, &adapter, 2);
                    drop(crew);
                    assert_eq!(model.0.load(Ordering::Relaxed), 4);
                });
            }

            #[test]
            fn callers_that_come_at_once_get_their_own_rows() {
                in_every_order(PREEMPTIONS - 1, || {
                    let (model, adapter) = (Arc::new(Model(AtomicUsize::new(0))), Arc::new(LowRank));
                    let crew = Arc::new(Crew::of(2, Isa));
                    let other = {
                        let (crew, model, adapter) = (crew.clone(), model.clone(), adapter.clone());
                        thread::spawn(move || ask(&crew, &model, &adapter, 2))
                    };
                    ask(&crew, &model, &adapter, 1);
                    other.join().unwrap();
                    assert_eq!(model.0.load(Ordering::Relaxed), 4);
                });
            }

            #[test]
            fn a_crew_ends_before_any_call() {
                in_every_order(PREEMPTIONS, || drop(Crew::of(3, Isa)));
            }
        }
    }
}
