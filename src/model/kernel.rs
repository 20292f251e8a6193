//! The arithmetic of the packed encoder on plain slices: matrix products, layer norm, gelu, softmax.
//!
//! No tape and no tensors: every function that has a backward keeps what that needs in an argument.
//! Loops are written so that the compiler vectorizes them. They are compiled for several instruction sets, and like the
//! matrix products choose one when they run; none of them joins a product and a sum into one rounding, so that the
//! loops' results are the same on all.

use macro_rules_attribute::apply;

/// Compiles a function for each instruction set that its loops gain from, and once for any machine; the first of these that the machine
/// has is the one that runs.
macro_rules! each_instruction_set {
    ($($function:tt)*) => {
        #[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
        $($function)*
    };
}
pub(super) use each_instruction_set;

/// A matrix seen in a slice.
#[derive(Clone, Copy)]
pub(super) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// All of `data`, row after row.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// `cols` of every `stride` values of `data`, starting with the first.
    pub(super) fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(cols <= stride && (rows == 0 || (rows - 1) * stride + cols <= data.len()), "matrix beyond its slice");
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// Rows and columns swapped.
    pub(super) fn t(self) -> Self {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        Self { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }
}

/// What becomes of what stood in the place of a product.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Into {
    /// It is overwritten.
    Empty,
    /// The product is added to it.
    Sum,
}

/// `out = scale * a * b`, or `out += …`; `out` has rows of `stride` values.
pub(super) fn product(out: &mut [f32], stride: usize, into: Into, scale: f32, a: Mat<'_>, b: Mat<'_>) {
    let (rows, inner, cols) = (a.rows, a.cols, b.cols);
    assert_eq!(inner, b.rows, "inner sizes differ");
    assert!(cols <= stride && (rows == 0 || (rows - 1) * stride + cols <= out.len()), "product beyond its slice");
    if rows == 0 || cols == 0 {
        return;
    }
    let step = |stride: usize| stride as isize;
    #[expect(unsafe_code, reason = "the product takes pointers; sizes and strides were checked above and in `Mat`")]
    // SAFETY: `Mat::strided` keeps every element of `a` and `b` within its slice (`t` only swaps), the
    // assertion above does for `out`, and `out` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm::gemm(
            rows,
            cols,
            inner,
            out.as_mut_ptr(),
            1,
            step(stride),
            into == Into::Sum,
            a.data.as_ptr(),
            step(a.col_stride),
            step(a.row_stride),
            b.data.as_ptr(),
            step(b.col_stride),
            step(b.row_stride),
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Sum of products, in eight lanes.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = a.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for x in chunks {
        for lane in 0..8 {
            lanes[lane] += x[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Layer norm of each row of `xs`, in place; `normed` and `scales` (one a row) are for [`layer_norm_back`].
#[apply(each_instruction_set)]
pub(super) fn layer_norm(
    xs: &mut [f32],
    (weight, bias, eps): (&[f32], &[f32], f32),
    normed: &mut [f32],
    scales: &mut [f32],
) {
    let size = weight.len();
    let n = size as f32;
    for ((row, normed), scale) in xs.chunks_exact_mut(size).zip(normed.chunks_exact_mut(size)).zip(scales) {
        let mean = sum(row) / n;
        row.iter_mut().for_each(|x| *x -= mean);
        *scale = 1.0 / (dot(row, row) / n + eps).sqrt();
        for (((x, normed), weight), bias) in row.iter_mut().zip(normed).zip(weight).zip(bias) {
            *normed = *x * *scale;
            *x = *normed * weight + bias;
        }
    }
}

/// Gradient of the input from that of the output, in place.
#[apply(each_instruction_set)]
pub(super) fn layer_norm_back(grads: &mut [f32], weight: &[f32], normed: &[f32], scales: &[f32]) {
    let size = weight.len();
    let n = size as f32;
    for ((grad, normed), scale) in grads.chunks_exact_mut(size).zip(normed.chunks_exact(size)).zip(scales) {
        grad.iter_mut().zip(weight).for_each(|(grad, weight)| *grad *= weight);
        let (mean, along) = (sum(grad) / n, dot(grad, normed) / n);
        for (grad, normed) in grad.iter_mut().zip(normed) {
            *grad = (*grad - mean - normed * along) * scale;
        }
    }
}

/// `exp(x)` for `x <= 0`, to 2e-7 of its value, without a branch.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    let rest = (x - whole * 0.693_359_4) + whole * 2.121_944_5e-4;
    let poly = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest * (1.666_666_5e-1 + rest * (4.166_58e-2 + rest * (8.333_452e-3 + rest * 1.398_2e-3)))));
    poly * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// `x * Φ(x)` and its derivative.
#[inline(always)]
fn gelu_at(x: f32) -> (f32, f32) {
    // erf by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
    let bell = exp_of_negative(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2 * x.abs());
    let poly = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let upper = 0.5 * poly * bell; // 1 - Φ(|x|)
    let phi = if x < 0.0 { upper } else { 1.0 - upper };
    (x * phi, phi + x * bell * 0.398_942_3)
}

/// Gelu in place; `slopes` is for its backward, a plain product.
#[apply(each_instruction_set)]
pub(super) fn gelu(xs: &mut [f32], slopes: &mut [f32]) {
    for (x, slope) in xs.iter_mut().zip(slopes) {
        (*x, *slope) = gelu_at(*x);
    }
}

/// Softmax of each row of `size` values, in place.
#[apply(each_instruction_set)]
pub(super) fn softmax(rows: &mut [f32], size: usize) {
    for row in rows.chunks_exact_mut(size) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = exp_of_negative(*x - top));
        let total = 1.0 / sum(row);
        row.iter_mut().for_each(|x| *x *= total);
    }
}

/// Gradient of the scores from that of the softmax, in place.
#[apply(each_instruction_set)]
pub(super) fn softmax_back(grads: &mut [f32], weights: &[f32], size: usize) {
    for (grads, weights) in grads.chunks_exact_mut(size).zip(weights.chunks_exact(size)) {
        let along = dot(grads, weights);
        grads.iter_mut().zip(weights).for_each(|(grad, weight)| *grad = weight * (*grad - along));
    }
}

/// `xs += ys`.
#[apply(each_instruction_set)]
pub(super) fn add(xs: &mut [f32], ys: &[f32]) {
    xs.iter_mut().zip(ys).for_each(|(x, y)| *x += y);
}

/// `sums += ` each row of `rows`.
pub(super) fn add_rows(sums: &mut [f32], rows: &[f32]) {
    rows.chunks_exact(sums.len()).for_each(|row| add(sums, row));
}

/// `sums += ` each row of `xs` times that of `ys`, value by value.
#[apply(each_instruction_set)]
pub(super) fn add_products(sums: &mut [f32], xs: &[f32], ys: &[f32]) {
    let size = sums.len();
    for (xs, ys) in xs.chunks_exact(size).zip(ys.chunks_exact(size)) {
        sums.iter_mut().zip(xs).zip(ys).for_each(|((sum, x), y)| *sum += x * y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_and_its_slope_are_those_of_the_error_function() {
        // Values from a table of the normal distribution: Φ(1) and φ(1).
        let (phi, bell) = (0.841_344_7_f32, 0.241_970_72_f32);
        let (value, slope) = gelu_at(1.0);
        assert!((value - phi).abs() < 1e-6 && (slope - (phi + bell)).abs() < 1e-6, "{value} {slope}");
        let (value, slope) = gelu_at(-1.0);
        assert!((value + (1.0 - phi)).abs() < 1e-6 && (slope - (1.0 - phi - bell)).abs() < 1e-6, "{value} {slope}");
        assert!(gelu_at(-30.0).0.abs() < 1e-6 && (gelu_at(30.0).0 - 30.0).abs() < 1e-5);
    }

    #[test]
    fn exp_is_close_over_its_whole_range() {
        for step in 0..8_700 {
            let x = -(step as f32) / 100.0;
            let (ours, exact) = (exp_of_negative(x), x.exp());
            assert!((ours - exact).abs() <= 4e-7 * exact + 1e-37, "{x}: {ours} {exact}");
        }
    }

    #[test]
    fn a_product_reads_transposed_and_strided_matrices() {
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let b = [5.0, 6.0, 7.0, 8.0];
        let mut out = [1.0; 4];
        product(&mut out, 2, Into::Empty, 1.0, Mat::strided(&a, 2, 2, 3), Mat::new(&b, 2, 2).t());
        assert_eq!(out, [17.0, 23.0, 39.0, 53.0]);
        product(&mut out, 2, Into::Sum, 2.0, Mat::strided(&a, 2, 2, 3), Mat::new(&b, 2, 2).t());
        assert_eq!(out, [51.0, 69.0, 117.0, 159.0]);
    }
    #[test]
    fn what_lies_beyond_a_slice_never_reaches_a_pointer() {
        let (four, mut out) = ([1.0; 4], [0.0; 4]);
        let of = |rows, cols| Mat::new(&four, rows, cols);
        let mut refused = |what: &mut dyn FnMut(&mut [f32])| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| what(&mut out))).is_err()
        };
        assert!(refused(&mut |_| _ = Mat::strided(&[1.0; 4], 2, 2, 3)), "a matrix");
        assert!(refused(&mut |_| _ = Mat::strided(&[1.0; 4], 2, 3, 2)), "rows that overlap");
        assert!(refused(&mut |out| product(out, 3, Into::Empty, 1.0, of(2, 2), of(2, 2))), "a product");
        assert!(refused(&mut |out| product(out, 2, Into::Empty, 1.0, of(2, 2), of(1, 4))), "other inner sizes");
        assert!(!refused(&mut |out| product(out, 2, Into::Empty, 1.0, of(2, 2), of(2, 2))));
        assert!(!refused(&mut |out| product(out, 1, Into::Empty, 1.0, of(0, 2), of(2, 1))), "nothing to compute");
    }
}
