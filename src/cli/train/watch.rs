//! A training's progress, shown and timed.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::train::Progress;

/// Shows a training's steps as a bar, or as lines where no bar is drawn, and times the passes over the rows.
pub(in crate::cli) struct Watch {
    bar: ProgressBar,
    /// Tenths of the rows that were told.
    told: usize,
    done: usize,
    /// When the pass under way began, and when its latest step ended.
    pass: Option<(Instant, Instant)>,
    took: Duration,
}

impl Watch {
    pub(in crate::cli) fn new() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_style(
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} rows {per_sec} eta {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self { bar, told: 0, done: 0, pass: None, took: Duration::ZERO }
    }

    /// Beside the output, which is what came of it.
    pub(in crate::cli) fn say(&self, sentence: &str) {
        self.bar.suspend(|| eprintln!("{sentence}"));
    }

    pub(in crate::cli) fn show(&mut self, step: Progress) {
        let now = Instant::now();
        match step {
            Progress::Started => self.pass = Some((now, now)),
            Progress::Rows { done, total, loss } => {
                self.done = done;
                if let Some((_, latest)) = &mut self.pass {
                    *latest = now;
                }
                // Where no bar is drawn, a line for every tenth.
                if self.bar.is_hidden() && done * 10 / total.max(1) > self.told {
                    self.told = done * 10 / total.max(1);
                    self.say(&format!("{done} of {total} rows, loss {loss:.3}"));
                }
                self.bar.set_length(total as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(format!("loss {loss:.3}"));
            }
            Progress::Epoch { epoch, dev_accuracy } => {
                // Dev was measured between the latest step and now.
                if let Some((begun, latest)) = self.pass.replace((now, now)) {
                    self.took += latest - begun;
                }
                self.say(&format!("epoch {epoch}: the encoder alone is right on {:.2} % of dev", dev_accuracy * 100.0));
            }
            Progress::Wide => self.bar.set_message("wide part"),
            Progress::Calibrating => self.bar.set_message("calibrating"),
        }
    }

    /// Clears the bar; rows that were trained on, all passes together, and how long those took.
    pub(in crate::cli) fn end(self) -> (usize, Duration) {
        self.bar.finish_and_clear();
        (self.done, self.took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_only_whole_passes_timed() {
        let mut watch = Watch::new();
        watch.show(Progress::Started);
        for done in [32, 64] {
            watch.show(Progress::Rows { done, total: 128, loss: 1.0 });
        }
        assert_eq!(watch.took, Duration::ZERO);
        watch.show(Progress::Epoch { epoch: 1, dev_accuracy: 0.5 });
        let (done, took) = watch.end();
        assert!(done == 64 && took > Duration::ZERO, "{done} {took:?}");
    }
}
