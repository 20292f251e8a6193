//! Memory in large pages, where the system has them: what a batch touches lies on more small pages than a core remembers
//! the places of.

/// Bytes of a large page.
const PAGE: usize = 2 << 20;

/// Values from about the beginning of a large page on.
#[derive(Debug)]
pub(super) struct Pages<T> {
    all: Vec<T>,
    from: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { all: Vec::new(), from: 0 }
    }
}

impl<T: Copy> Pages<T> {
    /// So many values, all of them `value`. Values are no larger than a page, and fill it.
    pub(super) fn new(count: usize, value: T) -> Self {
        let of_page = const { PAGE / size_of::<T>() };
        let mut all: Vec<T> = Vec::with_capacity(count.next_multiple_of(of_page) + of_page);
        let address = all.as_ptr().addr();
        let from = (address.next_multiple_of(PAGE) - address) / size_of::<T>();
        advise_large_pages(&mut all.spare_capacity_mut()[from..]);
        all.resize(from + count, value);
        Self { all, from }
    }

    pub(super) fn all(&self) -> &[T] {
        &self.all[self.from..]
    }

    pub(super) fn all_mut(&mut self) -> &mut [T] {
        &mut self.all[self.from..]
    }
}

/// Asks for large pages behind memory that nobody has touched. Not getting them costs some speed.
#[cfg(target_os = "linux")]
fn advise_large_pages<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    use nix::sys::mman::{MmapAdvise, madvise};
    let start = memory.as_mut_ptr().cast::<u8>();
    // The allocator may have put the first value a little before a page.
    let before = start.addr().next_multiple_of(PAGE) - start.addr();
    let length = size_of_val(memory).saturating_sub(before) / PAGE * PAGE;
    let Some(start) = std::ptr::NonNull::new(start.wrapping_add(before).cast()).filter(|_| length > 0) else { return };
    #[expect(unsafe_code, reason = "a system call about memory")]
    // SAFETY: the range lies in a live allocation of our own, and this advice changes no byte of it.
    let _ = unsafe { madvise(start, length, MmapAdvise::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_large_pages<T>(_: &mut [std::mem::MaybeUninit<T>]) {}
