//! AMX for machines that have none, in tests: what the processor doesn't know, it hands to a signal's handler, which does what Intel's
//! manual says of the seven instructions that [`tiles`](super::tiles) uses, and says so where one of them was not to be used like that.
#![expect(unsafe_code, reason = "who stands in for a processor reads and writes what the program's registers point at")]

use std::{array, cell::RefCell, ptr, sync::Once};

use half::bf16;
use nix::{
    libc::{
        REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP, c_int, c_void, ucontext_t,
    },
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

/// Rows of a tile, and bytes of a row, at most.
const ROWS: usize = 16;
const BYTES: usize = 64;

/// One thread's tiles.
struct State {
    tiles: [[[u8; BYTES]; ROWS]; 8],
    /// Of each tile, rows and bytes of a row: none before they are set.
    sizes: [(usize, usize); 8],
}

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { tiles: [[[0; BYTES]; ROWS]; 8], sizes: [(0, 0); 8] }) };
}

/// From now on instructions for tiles work in this process. Where the processor has them, it goes on doing them itself.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let action = SigAction::new(SigHandler::SigAction(handle), SaFlags::SA_SIGINFO, SigSet::empty());
        // SAFETY: nobody else handles this signal, and what handles it touches only the thread that it interrupts.
        unsafe { sigaction(Signal::SIGILL, &action) }.expect("a signal that can be handled");
    });
}

extern "C" fn handle(_: c_int, _: *mut nix::libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a handler the registers of the thread that it interrupts, which are nobody else's meanwhile.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let at = registers[REG_RIP as usize];
    // SAFETY: the processor has just tried to do what stands there. No instruction has more than 15 bytes, and code goes on behind one.
    let code: [u8; 15] = unsafe { ptr::read(ptr::with_exposed_provenance(at as usize)) };
    let of = |number: u8| registers[register(number)] as usize;
    let Some(instruction) = Instruction::decode(&code, of) else {
        eprintln!("an instruction that neither the processor nor the emulation of tiles knows: {code:x?}");
        std::process::abort();
    };
    STATE.with_borrow_mut(|state| instruction.run(state));
    registers[REG_RIP as usize] = at + instruction.length as i64;
}

/// Where the context keeps a register, by its number in instructions.
fn register(number: u8) -> usize {
    const FIRST: [c_int; 8] = [REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI];
    // The others lie in their order, from the start on.
    FIRST.get(usize::from(number)).map_or_else(|| usize::from(number) - 8, |place| *place as usize)
}

#[derive(Debug)]
enum Work {
    /// Reads sizes from an address.
    Configure(usize),
    Release,
    Zero(usize),
    /// Between a tile and rows that begin at an address, so many bytes from one to the next.
    Load(usize, usize, usize),
    Store(usize, usize, usize),
    /// Sums, and what is multiplied.
    Bytes([usize; 3]),
    Bf16([usize; 3]),
}

struct Instruction {
    work: Work,
    length: usize,
}

impl Instruction {
    /// Three bytes of VEX prefix in the map of `0f38`, the operation, and its operands.
    fn decode(code: &[u8; 15], of: impl Fn(u8) -> usize) -> Option<Self> {
        let [0xc4, extend, prefix, operation, operands, ..] = *code else { return None };
        if extend & 0x1f != 2 {
            return None;
        }
        let (kind, field, last) = (operands >> 6, usize::from(operands >> 3 & 7), operands & 7);
        // Some bits are written the other way round.
        let (index_high, base_high) = (!extend >> 3 & 8, !extend >> 2 & 8);
        let third = usize::from(!prefix >> 3 & 7);
        let mut length = 5;
        // An address, and what is added from one row to the next.
        let mut memory = || {
            let (mut base, mut stride) = (last, 0);
            if last == 4 {
                let sib = code[5];
                length += 1;
                base = sib & 7;
                let index = sib >> 3 & 7 | index_high;
                stride = if index == 4 { 0 } else { of(index) << (sib >> 6) };
            }
            // Neither the instruction's own place nor an address without a register is used here.
            assert!(kind != 0 || base != 5, "an address that the emulation of tiles doesn't know");
            let moved = match kind {
                0 => 0,
                1 => i64::from(code[length].cast_signed()),
                _ => i64::from(i32::from_le_bytes(array::from_fn(|at| code[length + at]))),
            };
            length += [0, 1, 4][usize::from(kind)];
            (of(base | base_high).wrapping_add_signed(moved as isize), stride)
        };
        let work = match (operation, prefix & 3, kind) {
            (0x49, 0, 3) => Work::Release,
            (0x49, 0, _) => Work::Configure(memory().0),
            (0x49, 3, 3) => Work::Zero(field),
            (0x4b, 3, 0..=2) => {
                let (from, stride) = memory();
                Work::Load(field, from, stride)
            }
            (0x4b, 2, 0..=2) => {
                let (to, stride) = memory();
                Work::Store(field, to, stride)
            }
            (0x5e, 1, 3) => Work::Bytes([field, usize::from(last), third]),
            (0x5c, 2, 3) => Work::Bf16([field, usize::from(last), third]),
            _ => return None,
        };
        Some(Self { work, length })
    }

    fn run(&self, state: &mut State) {
        match self.work {
            Work::Configure(from) => {
                // SAFETY: the instruction reads 64 bytes there.
                let layout: [u8; 64] = unsafe { ptr::read(ptr::with_exposed_provenance(from)) };
                assert!(layout[0] == 1 && layout[1..16].iter().all(|byte| *byte == 0), "no such layout of tiles");
                let size = |tile: usize| {
                    let bytes = u16::from_le_bytes([layout[16 + 2 * tile], layout[17 + 2 * tile]]);
                    (usize::from(layout[48 + tile]), usize::from(bytes))
                };
                *state = State { tiles: [[[0; BYTES]; ROWS]; 8], sizes: array::from_fn(size) };
                assert!(state.sizes.iter().all(|(rows, bytes)| *rows <= ROWS && *bytes <= BYTES), "tiles too large");
                assert!((8..16).all(|tile| size(tile) == (0, 0)), "there are eight tiles");
            }
            Work::Release => state.sizes = [(0, 0); 8],
            Work::Zero(tile) => {
                state.size(tile);
                state.tiles[tile] = [[0; BYTES]; ROWS];
            }
            Work::Load(tile, from, stride) => {
                let (rows, bytes) = state.size(tile);
                state.tiles[tile] = [[0; BYTES]; ROWS];
                for (at, row) in state.tiles[tile][..rows].iter_mut().enumerate() {
                    let from = ptr::with_exposed_provenance::<u8>(from.wrapping_add(at * stride));
                    // SAFETY: the instruction reads so many bytes there.
                    unsafe { ptr::copy_nonoverlapping(from, row.as_mut_ptr(), bytes) };
                }
            }
            Work::Store(tile, to, stride) => {
                let (rows, bytes) = state.size(tile);
                for (at, row) in state.tiles[tile][..rows].iter().enumerate() {
                    let to = ptr::with_exposed_provenance_mut::<u8>(to.wrapping_add(at * stride));
                    // SAFETY: the instruction writes so many bytes there.
                    unsafe { ptr::copy_nonoverlapping(row.as_ptr(), to, bytes) };
                }
            }
            Work::Bytes(of) => state.multiply(of, |sum, x, y| {
                let of_bytes = |(x, y): (u8, u8)| i32::from(x) * i32::from(y.cast_signed());
                let products: i32 = x.into_iter().zip(y).map(of_bytes).sum();
                i32::from_le_bytes(sum).wrapping_add(products).to_le_bytes()
            }),
            Work::Bf16(of) => state.multiply(of, |sum, [a, b, c, d], [e, f, g, h]| {
                let number = |half: [u8; 2]| bf16::from_le_bytes(half).to_f32();
                let sum = number([a, b]).mul_add(number([e, f]), f32::from_le_bytes(sum));
                number([c, d]).mul_add(number([g, h]), sum).to_le_bytes()
            }),
        }
    }
}

impl State {
    fn size(&self, tile: usize) -> (usize, usize) {
        let size = self.sizes[tile];
        assert!(size.0 > 0 && size.1 > 0, "tile {tile} is not set");
        size
    }

    /// Adds to each word of sums what `product` makes of the words of its row and of its column.
    fn multiply(&mut self, [sums, x, y]: [usize; 3], product: impl Fn([u8; 4], [u8; 4], [u8; 4]) -> [u8; 4]) {
        let (rows, bytes) = self.size(sums);
        let (inner, of_y) = (self.size(x).1, self.size(y));
        assert!(self.size(x).0 == rows && of_y == (inner / 4, bytes), "tiles that don't fit each other");
        assert!(sums != x && sums != y && x != y, "one tile for two things");
        let (left, right, mut into) = (self.tiles[x], self.tiles[y], self.tiles[sums]);
        for (into, left) in into[..rows].iter_mut().zip(left) {
            let left = &left.as_chunks::<4>().0[..inner / 4];
            for (left, right) in left.iter().zip(right) {
                let columns = into.as_chunks_mut::<4>().0[..bytes / 4].iter_mut();
                for (into, right) in columns.zip(right.as_chunks::<4>().0) {
                    *into = product(*into, *left, *right);
                }
            }
        }
        self.tiles[sums] = into;
    }
}
