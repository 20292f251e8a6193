//! Weights, laid out in the order in which they are read.

use half::bf16;

use super::{
    lanes::{LANES, Line},
    number::Format,
};

/// Vectors side by side in a panel of the encoder's own weights.
pub(super) const VECTORS: usize = 4;
/// Columns of such a panel.
pub(super) const COLUMNS: usize = VECTORS * LANES;

/// What a word of inputs weighs in `V` vectors of outputs.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Step<const V: usize>(pub(super) [Line; V]);

impl<const V: usize> Step<V> {
    pub(super) const EMPTY: Self = Self([[0; 4 * LANES]; V]);
}

/// What belongs to each output of a panel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Columns<const V: usize> {
    /// What a byte stands for; no more than the bias counts where weights are no bytes.
    pub(super) scales: [[f32; LANES]; V],
    /// Sums of the bytes.
    pub(super) sums: [[f32; LANES]; V],
    /// 128 times those.
    pub(super) shifted: [[i32; LANES]; V],
    pub(super) bias: [[f32; LANES]; V],
}

/// A linear layer, or some inputs or outputs of one: bytes are symmetric, in units of each output's own size. The panels
/// of many lie one after the other.
#[derive(Debug)]
pub(super) struct Panels<const V: usize> {
    /// Of each panel.
    pub(super) steps: usize,
    /// The first of all its steps, `[panels, steps]`.
    pub(super) at: usize,
    pub(super) columns: Vec<Columns<V>>,
}

impl<const V: usize> Panels<V> {
    /// Adds rows of weights, one for each output, to `all`. An output's bias and factor (which its values are
    /// multiplied by) come from `of`; outputs are filled up with zeros to whole panels.
    pub(super) fn add<'a>(
        all: &mut Vec<Step<V>>,
        format: Format,
        inputs: usize,
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
        of: impl Fn(usize) -> (f32, f32),
    ) -> Self {
        let (width, steps, at) = (V * LANES, inputs * format.size() / 4, all.len());
        let panels = rows.len().div_ceil(width);
        all.resize(at + panels * steps, Step::EMPTY);
        let empty = [[0.0; LANES]; V];
        let mut columns = vec![Columns { scales: empty, sums: empty, shifted: [[0; LANES]; V], bias: empty }; panels];
        for (output, row) in rows.enumerate() {
            let (panel, v, lane) = (output / width, output % width / LANES, output % LANES);
            let (bias, factor) = of(output);
            columns[panel].bias[v][lane] = bias * factor;
            let all = &mut all[at + panel * steps..][..steps];
            if format == Format::Bf16 {
                for (input, x) in row.iter().enumerate() {
                    let half = bf16::from_f32(x * factor).to_le_bytes().map(u8::cast_signed);
                    all[input / 2].0[v][lane * 4 + input % 2 * 2..][..2].copy_from_slice(&half);
                }
                continue;
            }
            let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let per_unit = if most > 0.0 { 127.0 / most } else { 0.0 };
            let mut sum = 0;
            for (input, x) in row.iter().enumerate() {
                let byte = (x * per_unit).round_ties_even() as i8;
                sum += i32::from(byte);
                all[input / 4].0[v][lane * 4 + input % 4] = byte;
            }
            let columns = &mut columns[panel];
            columns.scales[v][lane] = most / 127.0 * factor;
            columns.sums[v][lane] = sum as f32;
            columns.shifted[v][lane] = 128 * sum;
        }
        Self { steps, at, columns }
    }
}
