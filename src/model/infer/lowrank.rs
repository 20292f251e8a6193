//! Low-rank differences beside the weights: the first factor in the weights' format, for it reads the same activations, the second in `f32` on its few numbers a row.

use std::ops::Range;

use super::{
    super::lora::{Layout, Pair, TARGETS, Target},
    lanes::LANES,
    model::Shape,
    number::Format,
    panels::{COLUMNS, Panels, Step, VECTORS},
};

/// What an adapter adds to every product.
#[derive(Debug)]
pub(in crate::model) struct LowRank {
    pub(super) layers: Vec<LayerDifference>,
    pub(super) steps: Vec<Step<1>>,
    /// Most numbers a row is reduced to, in whole vectors.
    pub(super) width: usize,
}

/// By product of a layer.
#[derive(Debug)]
pub(super) struct LayerDifference {
    pub(super) qkv: Difference,
    pub(super) out: Difference,
    pub(super) up: Difference,
    pub(super) down: Difference,
}

/// What an adapter adds to one product, which may have the outputs of several linear layers.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// First factors of all of them, one below the other; for each slice of the inputs.
    pub(super) reduce: Vec<Panels<1>>,
    /// For each panel of the product, where its reduced numbers begin, and its rows of `factors`.
    parts: Vec<(usize, Range<usize>)>,
    /// Second factors, scaled: a row for each reduced number.
    factors: Vec<[[f32; LANES]; VECTORS]>,
}

impl Difference {
    /// Where a panel's reduced numbers begin, and what each weighs in its columns.
    #[inline(always)]
    pub(super) fn of_panel(&self, panel: usize) -> (usize, &[[[f32; LANES]; VECTORS]]) {
        self.parts.get(panel).map_or((0, &[]), |(from, rows)| (*from, &self.factors[rows.clone()]))
    }
}

impl LowRank {
    /// What was learned beside weights of this shape; nothing where nothing was.
    pub(super) fn new(shape: &Shape, format: Format, layout: &Layout, numbers: &[f32]) -> Option<Self> {
        let mut steps = Vec::new();
        let mut layers = Vec::new();
        for layer in 0..shape.layers {
            let mut difference = |targets: &[Target], slice: usize| {
                let pairs = targets.iter().map(|target| (*target, layout.pair(layer, *target)));
                of_product(shape, format, pairs, slice, (layout.scale, numbers), &mut steps)
            };
            let [query, key, value, out, up, down] = TARGETS;
            layers.push(LayerDifference {
                qkv: difference(&[query, key, value], shape.hidden),
                out: difference(&[out], shape.hidden),
                up: difference(&[up], shape.hidden),
                down: difference(&[down], shape.slice),
            });
        }
        let reduced = layers.iter().flat_map(|of| [&of.qkv, &of.out, &of.up, &of.down]).flat_map(|of| &of.reduce);
        let width = reduced.map(|panels| panels.columns.len() * LANES).max()?;
        Some(Self { layers, steps, width })
    }
}

/// The difference to a product, read in slices of its inputs.
fn of_product(
    shape: &Shape,
    format: Format,
    targets: impl Iterator<Item = (Target, Option<Pair>)> + Clone,
    slice: usize,
    (scale, numbers): (f32, &[f32]),
    steps: &mut Vec<Step<1>>,
) -> Difference {
    let pairs = || targets.clone().filter_map(|(_, pair)| pair);
    let Some(inputs) = pairs().map(|pair| pair.a.cols).next() else { return Difference::default() };
    let reduce = (0..inputs).step_by(slice).map(|from| {
        let rows: Vec<&[f32]> = pairs()
            .flat_map(|pair| pair.a.of(numbers).chunks_exact(inputs).map(|row| &row[from..from + slice]))
            .collect();
        Panels::add(steps, format, slice, rows.into_iter(), |_| (0.0, 1.0))
    });
    let mut difference = Difference { reduce: reduce.collect(), ..Difference::default() };
    let mut reduced = 0;
    for (target, pair) in targets {
        let (rank, b) = pair.map_or((0, &[][..]), |pair| (pair.b.cols, pair.b.of(numbers)));
        let scale = scale * shape.factor(target);
        for panel in 0..shape.outputs(target) / COLUMNS {
            let first = difference.factors.len();
            difference.factors.extend((0..rank).map(|at| {
                std::array::from_fn(|v| {
                    std::array::from_fn(|lane| b[(panel * COLUMNS + v * LANES + lane) * rank + at] * scale)
                })
            }));
            difference.parts.push((reduced, first..difference.factors.len()));
        }
        reduced += rank;
    }
    difference
}
