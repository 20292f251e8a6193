//! The threads that compute batches: one a core, the caller's among them.
//!
//! A batch is copied into the crew's own memory and cut into blocks that whoever is free takes, so that a core which
//! is busy elsewhere holds nobody up. Nothing is allocated once buffers are as large as the batches.

use std::{
    ops::Range,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant},
};

use super::{
    super::held,
    isa::{Instructions, Isa},
    lowrank::LowRank,
    meet::{Arc, AtomicUsize, Builder, Condvar, JoinHandle, Mutex, Ordering, PoisonError, RwLock},
    model::{Block, Model, Scratch},
    number::Format,
};

/// Tokens of a block, about: its activations stay in a core's second cache beside the weights that are fetched.
const BLOCK: usize = 112;
/// Tokens for which fetching the weights on another core pays.
const SHARE: usize = 16;

/// How long [`Crew::peak`] measures.
const PROBE: Duration = Duration::from_millis(100);

/// Sequences that are read with the same adapter, or with none.
#[derive(Clone, Copy)]
pub(in crate::model) struct Group<'a> {
    pub(in crate::model) adapter: Option<&'a Arc<LowRank>>,
    pub(in crate::model) sequences: &'a [Vec<u32>],
}

/// A handle on the threads, which the last one ends.
pub(in crate::model) struct Crew {
    shared: Arc<Shared>,
    /// What the caller computes with; held while a batch is computed.
    turn: Mutex<Scratch>,
    helpers: Vec<JoinHandle<()>>,
}

struct Shared {
    isa: Isa,
    batch: RwLock<Batch>,
    next: AtomicUsize,
    called: Mutex<Called>,
    call: Condvar,
}

#[derive(Default)]
struct Called {
    batches: u64,
    ended: bool,
}

#[derive(Default)]
struct Batch {
    model: Option<Arc<Model>>,
    ids: Vec<u32>,
    /// Tokens of each sequence, and the place of its adapter, if it has one.
    sequences: Vec<(usize, Option<usize>)>,
    adapters: Vec<Arc<LowRank>>,
    /// Which sequences and tokens a block has.
    blocks: Vec<(Range<usize>, Range<usize>)>,
    /// Vectors of each block's sequences, and whether they have been computed.
    vectors: Vec<Mutex<(bool, Vec<f32>)>>,
}

impl Crew {
    /// As many threads as there are cores.
    pub(in crate::model) fn new() -> Self {
        Self::with(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// So many threads, or fewer where the system has no more to give.
    pub(in crate::model) fn with(threads: usize) -> Self {
        Self::of(threads, Isa::fastest())
    }

    pub(super) fn of(threads: usize, isa: Isa) -> Self {
        let shared = Arc::new(Shared {
            isa,
            batch: RwLock::default(),
            next: AtomicUsize::new(0),
            called: Mutex::default(),
            call: Condvar::new(),
        });
        let helper = |at: usize| {
            let shared = shared.clone();
            Builder::new().name(format!("infer {at}")).spawn(move || shared.help()).ok()
        };
        let helpers = (1..threads).map_while(helper).collect();
        Self { shared, turn: Mutex::default(), helpers }
    }

    /// Threads that compute a batch, the caller's among them.
    pub(in crate::model) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Which instructions compute.
    pub(in crate::model) fn instructions(&self) -> Instructions {
        self.shared.isa.instructions()
    }

    /// Operations a second that these threads reach at most, measured now, for about a tenth of a second.
    pub(in crate::model) fn peak(&self, format: Format) -> f64 {
        // By one clock: threads that wait for a core take turns.
        let started = Instant::now();
        let alone = || {
            let mut operations = 0;
            while started.elapsed() < PROBE {
                operations += self.shared.isa.probe(format);
            }
            operations
        };
        let operations: usize = std::thread::scope(|scope| {
            let probes: Vec<_> = (0..self.threads()).map(|_| scope.spawn(alone)).collect();
            probes.into_iter().filter_map(|probe| probe.join().ok()).sum()
        });
        operations as f64 / started.elapsed().as_secs_f64()
    }

    /// The mean of each sequence's tokens in the last layer, group after group: `[sequences, hidden]` in `out`.
    pub(in crate::model) fn pooled(&self, model: &Arc<Model>, groups: &[Group<'_>], out: &mut Vec<f32>) {
        let mut scratch = held(&self.turn);
        let blocks = {
            let mut batch = self.shared.batch.write().unwrap_or_else(PoisonError::into_inner);
            batch.fill(model, groups, self.threads());
            self.shared.next.store(0, Ordering::SeqCst);
            batch.blocks.len()
        };
        if blocks > 1 {
            held(&self.shared.called).batches += 1;
            self.shared.call.notify_all();
        }
        self.shared.work(&mut scratch);
        // Helpers hold the batch while they compute.
        let mut batch = self.shared.batch.write().unwrap_or_else(PoisonError::into_inner);
        out.clear();
        for at in 0..blocks {
            if !held(&batch.vectors[at]).0 {
                // A helper has panicked: whatever the reason is, it is told here.
                batch.compute(at, self.shared.isa, &mut scratch);
            }
            out.extend_from_slice(&held(&batch.vectors[at]).1);
        }
        // Whoever has the last handle on weights or an adapter frees them.
        batch.model = None;
        batch.adapters.clear();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        held(&self.shared.called).ended = true;
        self.shared.call.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

impl Shared {
    fn help(&self) {
        let mut scratch = Scratch::default();
        let mut seen = 0;
        loop {
            {
                let mut called = held(&self.called);
                while called.batches == seen && !called.ended {
                    called = self.call.wait(called).unwrap_or_else(PoisonError::into_inner);
                }
                if called.ended {
                    return;
                }
                seen = called.batches;
            }
            // Whoever called computes what a panic left out, and is told of it there.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| self.work(&mut scratch)));
        }
    }

    fn work(&self, scratch: &mut Scratch) {
        let batch = self.batch.read().unwrap_or_else(PoisonError::into_inner);
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= batch.blocks.len() {
                return;
            }
            batch.compute(at, self.isa, scratch);
        }
    }
}

impl Batch {
    fn fill(&mut self, model: &Arc<Model>, groups: &[Group<'_>], threads: usize) {
        self.model = Some(model.clone());
        self.ids.clear();
        self.sequences.clear();
        self.adapters.clear();
        self.blocks.clear();
        for group in groups {
            let place = group.adapter.map(|adapter| {
                let known = self.adapters.iter().position(|known| Arc::ptr_eq(known, adapter));
                known.unwrap_or_else(|| {
                    self.adapters.push(adapter.clone());
                    self.adapters.len() - 1
                })
            });
            for ids in group.sequences {
                self.ids.extend_from_slice(ids);
                self.sequences.push((ids.len(), place));
            }
        }
        self.cut(threads);
        for ((of_block, _), at) in self.blocks.iter().zip(0..) {
            if self.vectors.len() <= at {
                self.vectors.push(Mutex::default());
            }
            let mut vectors = held(&self.vectors[at]);
            vectors.0 = false;
            vectors.1.resize(of_block.len() * model.hidden(), 0.0);
        }
    }

    /// Blocks of like size: a few for each thread, but none so small that fetching the weights costs more.
    fn cut(&mut self, threads: usize) {
        let tokens = self.ids.len();
        let wanted = tokens.div_ceil(BLOCK).next_multiple_of(threads).min(tokens / SHARE).max(1);
        let (mut first, mut from, mut end) = (0, 0, 0);
        for (at, (length, _)) in self.sequences.iter().enumerate() {
            end += length;
            if end * wanted >= tokens * (self.blocks.len() + 1) || at + 1 == self.sequences.len() {
                self.blocks.push((first..at + 1, from..end));
                (first, from) = (at + 1, end);
            }
        }
    }

    fn compute(&self, at: usize, isa: Isa, scratch: &mut Scratch) {
        let Some(model) = &self.model else { return };
        let (sequences, tokens) = self.blocks[at].clone();
        let block = Block { ids: &self.ids[tokens], sequences: &self.sequences[sequences], adapters: &self.adapters };
        let mut vectors = held(&self.vectors[at]);
        model.pooled(isa, block, scratch, &mut vectors.1);
        vectors.0 = true;
    }
}
