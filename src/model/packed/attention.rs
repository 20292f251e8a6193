//! Attention within each sequence, head by head, on strided views of the packed rows.

use super::{
    super::kernel::{self, Into, Mat, product},
    LayerTape, Pack, Packed,
};

impl Packed {
    fn head_size(&self) -> usize {
        self.config.hidden_size / self.config.num_attention_heads
    }

    fn attention_scale(&self) -> f32 {
        1.0 / (self.head_size() as f32).sqrt()
    }

    /// Context and attention weights.
    pub(super) fn attention(&self, query: &[f32], key: &[f32], value: &[f32], pack: &Pack) -> (Vec<f32>, Vec<f32>) {
        let (hidden, size, scale) = (self.config.hidden_size, self.head_size(), self.attention_scale());
        let mut context = vec![0.0; query.len()];
        let heads = self.config.num_attention_heads;
        let mut weights = vec![0.0; pack.spans.iter().map(|span| span.len() * span.len() * heads).sum()];
        let mut rest = weights.as_mut_slice();
        for span in &pack.spans {
            let tokens = span.len();
            for head in 0..heads {
                let from = span.start * hidden + head * size;
                let (q, k, v) = (
                    Mat::strided(&query[from..], tokens, size, hidden),
                    Mat::strided(&key[from..], tokens, size, hidden),
                    Mat::strided(&value[from..], tokens, size, hidden),
                );
                let (own, others) = rest.split_at_mut(tokens * tokens);
                rest = others;
                product(own, tokens, Into::Empty, scale, q, k.t());
                kernel::softmax(own, tokens);
                product(&mut context[from..], hidden, Into::Empty, 1.0, Mat::new(own, tokens, tokens), v);
            }
        }
        (context, weights)
    }

    /// Gradients of query, key and value from that of the context.
    pub(super) fn attention_back(
        &self,
        context: &[f32],
        tape: &LayerTape,
        pack: &Pack,
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (hidden, size, scale) = (self.config.hidden_size, self.head_size(), self.attention_scale());
        let (mut query, mut key, mut value) =
            (vec![0.0; context.len()], vec![0.0; context.len()], vec![0.0; context.len()]);
        let mut rest = tape.weights.as_slice();
        let mut scores = Vec::new();
        for span in &pack.spans {
            let tokens = span.len();
            for head in 0..self.config.num_attention_heads {
                let from = span.start * hidden + head * size;
                let grad = Mat::strided(&context[from..], tokens, size, hidden);
                let (q, k, v) = (
                    Mat::strided(&tape.query[from..], tokens, size, hidden),
                    Mat::strided(&tape.key[from..], tokens, size, hidden),
                    Mat::strided(&tape.value[from..], tokens, size, hidden),
                );
                let (weights, others) = rest.split_at(tokens * tokens);
                rest = others;
                let of_weights = Mat::new(weights, tokens, tokens);
                product(&mut value[from..], hidden, Into::Empty, 1.0, of_weights.t(), grad);
                scores.resize(tokens * tokens, 0.0);
                product(&mut scores, tokens, Into::Empty, 1.0, grad, v.t());
                kernel::softmax_back(&mut scores, weights, tokens);
                let of_scores = Mat::new(&scores, tokens, tokens);
                product(&mut query[from..], hidden, Into::Empty, scale, of_scores, k);
                product(&mut key[from..], hidden, Into::Empty, scale, of_scores.t(), q);
                scores.clear();
            }
        }
        (query, key, value)
    }
}
