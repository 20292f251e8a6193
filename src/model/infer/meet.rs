//! What the threads of a crew meet at: the standard library's own. `tests/crew` puts a model checker's in its place.

pub(super) use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle},
};
