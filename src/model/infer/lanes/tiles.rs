//! AMX: products of whole tiles, of sixteen rows with sixteen outputs, in registers of their own.
//!
//! Intel's manual describes the instructions ("Intel Architecture Instruction Set Extensions", chapter on AMX): weights lie in memory as a tile
//! wants them wherever a line has a word of inputs for each of sixteen outputs, which is how panels are laid out anyway.
#![expect(unsafe_code, reason = "these instructions exist only where they were found, and only assembly has them")]

use std::{
    arch::{asm, x86_64::__cpuid_count},
    marker::PhantomData,
    num::NonZero,
    sync::LazyLock,
};

use nix::libc;

use super::{
    super::panels::{Step, VECTORS},
    LANES, Line,
};

/// Rows of a tile, at most, and words of a row.
pub(in crate::model::infer) const TILE: usize = 16;

/// The proof that the instructions are there, and that the system lets this process use them.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::infer) struct Tiles(());

/// Sums of each row in a panel's vectors, as they leave the tiles: `i32`, or the bits of `f32`.
#[repr(C, align(64))]
pub(in crate::model::infer) struct Sums<const V: usize>(pub(in crate::model::infer) [[[i32; LANES]; V]; TILE]);

impl<const V: usize> Sums<V> {
    pub(in crate::model::infer) const EMPTY: Self = Self([[[0; LANES]; V]; TILE]);
}

/// Rows of activations, `stride` bytes from one to the next, of which a product reads `rows`; and lines to fetch meanwhile.
#[derive(Clone, Copy)]
pub(in crate::model::infer) struct Read<'a> {
    pub(in crate::model::infer) bytes: &'a [u8],
    pub(in crate::model::infer) stride: usize,
    pub(in crate::model::infer) rows: usize,
    pub(in crate::model::infer) next: &'a [Line],
}

/// How this thread's tiles are set: for products of so many rows. It stays on its thread, and whoever drops it gives the registers
/// back, so that the system need not keep them.
pub(in crate::model::infer) struct Set {
    rows: usize,
    here: PhantomData<*const ()>,
}

/// What `ldtilecfg` reads: the palette, then bytes of a row and rows of each of eight tiles.
#[repr(C, align(64))]
struct Layout {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    pub(in crate::model::infer) fn detect() -> Option<Self> {
        static FOUND: LazyLock<bool> = LazyLock::new(|| are_there() && are_allowed());
        FOUND.then_some(Self(()))
    }

    /// The processor's, or what stands in for them.
    #[cfg(all(test, target_os = "linux"))]
    pub(in crate::model::infer) fn detect_or_emulate() -> Self {
        Self::detect().unwrap_or_else(|| {
            super::emulated::install();
            Self(())
        })
    }

    /// Nobody's rows yet.
    ///
    /// # Safety
    /// A thread has one set of tiles: until this is dropped, it makes no other.
    #[inline(always)]
    pub(in crate::model::infer) unsafe fn set(self) -> Set {
        Set { rows: 0, here: PhantomData }
    }
}

/// Whether the processor has tiles, and products of bytes and of bf16 between them.
fn are_there() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const ALL: u32 = AMX_BF16 | AMX_TILE | AMX_INT8;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & ALL == ALL
}

/// Asks the system for the tiles' registers: it keeps no room for them unless asked, and says no where a signal's stack is too small.
#[cfg(target_os = "linux")]
fn are_allowed() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a system call about this process's registers, which takes numbers alone.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn are_allowed() -> bool {
    false
}

impl Set {
    /// Sets the tiles for products of so many rows, unless they are: sums in the first four, activations in the fifth, weights in the others.
    #[inline(always)]
    fn to(&mut self, rows: usize) {
        if self.rows == rows {
            return;
        }
        assert!((1..=TILE).contains(&rows), "a tile has no such rows");
        self.rows = rows;
        let (of_rows, whole) = (rows as u8, TILE as u8);
        let layout = Layout {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
            rows: [of_rows, of_rows, of_rows, of_rows, of_rows, whole, whole, whole, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        // SAFETY: there is a `Set` only where `Tiles` is, so the instruction exists and is allowed; it reads the 64 bytes of a layout that
        // palette 1 has. The compiler itself uses no tile.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const layout,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly),
            );
        }
    }
}

impl Drop for Set {
    #[inline(always)]
    fn drop(&mut self) {
        if self.rows > 0 {
            // SAFETY: tiles were set, so the instruction exists; nobody needs what they hold any longer.
            unsafe {
                asm!(
                    "tilerelease",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// What the turns of a product run over.
struct Turns {
    x: *const u8,
    stride: usize,
    w: *const Line,
    /// From a step to the next, and from a row of sums to the next.
    line: usize,
    sums: *mut [i32; LANES],
    left: usize,
    next: *const Line,
    /// Lines that are fetched in a turn.
    share: usize,
}

/// Turns that each multiply sixteen words of every row with sixteen steps, between what is done before the first and after the last.
macro_rules! turns {
    ($over:ident, [$($before:literal)+] [$($turn:expr,)+] [$($after:literal)+]) => {
        asm!(
            $($before,)+
            "2:",
            "mov {count}, {share}",
            "jmp 4f",
            "3:",
            "prefetcht1 [{next}]",
            "add {next}, 64",
            "4:",
            "sub {count}, 1",
            "jae 3b",
            "tileloadd tmm4, [{x} + {stride}*1]",
            $($turn,)+
            "add {x}, 64",
            "dec {left}",
            "jnz 2b",
            $($after,)+
            x = inout(reg) $over.x => _,
            w = inout(reg) $over.w => _,
            left = inout(reg) $over.left => _,
            next = inout(reg) $over.next => _,
            count = out(reg) _,
            stride = in(reg) $over.stride,
            line = in(reg) $over.line,
            sums = in(reg) $over.sums,
            share = in(reg) $over.share,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

macro_rules! products {
    ($($name:ident, $of:literal, $dot:literal;)+) => {
        impl Set {$(
            #[doc = concat!("Sums of products of ", $of, ": activations with one panel's weights.")]
            #[inline(always)]
            pub(in crate::model::infer) fn $name<const V: usize>(
                &mut self,
                xs: Read<'_>,
                steps: &[Step<V>],
                sums: &mut Sums<V>,
            ) {
                const { assert!(V == 1 || V == VECTORS) };
                let width = steps.len() * 4;
                assert!(steps.len().is_multiple_of(TILE) && !steps.is_empty(), "a panel of no whole tiles");
                let last = xs.rows.checked_sub(1).and_then(|rows| rows.checked_mul(xs.stride));
                let end = last.and_then(|last| last.checked_add(width)).filter(|_| width <= xs.stride);
                assert!(end.is_some_and(|end| end <= xs.bytes.len()), "rows beyond their slice");
                self.to(xs.rows);
                let left = steps.len() / TILE;
                // Lines are fetched a few at a time: many at once would hold up what is read now. The last may lie past the end, which
                // fetching doesn't mind.
                let over = Turns {
                    x: xs.bytes.as_ptr(),
                    stride: xs.stride,
                    w: steps.as_ptr().cast(),
                    line: size_of::<Step<V>>(),
                    sums: sums.0.as_mut_ptr().cast(),
                    left,
                    next: xs.next.as_ptr(),
                    share: xs.next.len().div_ceil(left),
                };
                if V == VECTORS {
                    // SAFETY: the tiles were just set. Of each row `width` bytes are read, sixteen words a turn, which lie in `bytes` as
                    // asserted above; of the weights sixteen steps a turn, all of which are in `steps`; and as many rows of sums are
                    // written as there are rows, at most a tile's.
                    unsafe {
                        turns!(
                            over,
                            ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"]
                            [
                                "tileloadd tmm5, [{w} + {line}*1]",
                                concat!($dot, " tmm0, tmm4, tmm5"),
                                "tileloadd tmm6, [{w} + {line}*1 + 64]",
                                concat!($dot, " tmm1, tmm4, tmm6"),
                                "tileloadd tmm7, [{w} + {line}*1 + 128]",
                                concat!($dot, " tmm2, tmm4, tmm7"),
                                "tileloadd tmm5, [{w} + {line}*1 + 192]",
                                concat!($dot, " tmm3, tmm4, tmm5"),
                                "add {w}, 4096",
                            ]
                            [
                                "tilestored [{sums} + {line}*1], tmm0"
                                "tilestored [{sums} + {line}*1 + 64], tmm1"
                                "tilestored [{sums} + {line}*1 + 128], tmm2"
                                "tilestored [{sums} + {line}*1 + 192], tmm3"
                            ]
                        );
                    }
                } else {
                    // SAFETY: as above, where a step is one line.
                    unsafe {
                        turns!(
                            over,
                            ["tilezero tmm0"]
                            [
                                "tileloadd tmm5, [{w} + {line}*1]",
                                concat!($dot, " tmm0, tmm4, tmm5"),
                                "add {w}, 1024",
                            ]
                            ["tilestored [{sums} + {line}*1], tmm0"]
                        );
                    }
                }
            }
        )+}
    };
}

products! {
    bytes, "bytes with bytes, the first without a sign", "tdpbusd";
    bf16, "bf16", "tdpbf16ps";
}

impl Set {
    /// Nothing but products of tiles, for [`Isa::probe`](super::super::isa::Isa::probe), and how many operations those were.
    pub(in crate::model::infer) fn probe(&mut self, turns: NonZero<usize>, bf16: bool) -> usize {
        self.to(TILE);
        macro_rules! five {
            ($dot:literal) => {
                // SAFETY: the tiles were just set; what they hold matters to nobody.
                unsafe {
                    asm!(
                        "tilezero tmm6",
                        "tilezero tmm7",
                        "2:",
                        concat!($dot, " tmm0, tmm6, tmm7"),
                        concat!($dot, " tmm1, tmm6, tmm7"),
                        concat!($dot, " tmm2, tmm6, tmm7"),
                        concat!($dot, " tmm3, tmm6, tmm7"),
                        concat!($dot, " tmm5, tmm6, tmm7"),
                        "dec {left}",
                        "jnz 2b",
                        left = inout(reg) turns.get() => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nomem, nostack),
                    )
                }
            };
        }
        if bf16 {
            five!("tdpbf16ps");
        } else {
            five!("tdpbusd");
        }
        // Sums of 16 by 16, of 64 products of bytes or 32 of bf16 each.
        turns.get() * 5 * TILE * LANES * 2 * if bf16 { 32 } else { 64 }
    }
}
