//! What people said of this deployment's answers that were drawn at random: how right what answers today is beyond any file.
//!
//! Only accepted answers are drawn, so this is no accuracy over all rows, and it takes no file's place: options are compared on
//! the same rows. It says whether that file still stands for the traffic.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accuracy::Accuracy,
    evidence::Looking,
    setup::Setup,
    words::{count, percent},
};
use crate::{evaluate::metrics, store::LiveAccuracy};

/// Answers that a person must have looked at: with 100, nine in ten right is known to some six points either way.
pub const ENOUGH: u32 = 100;

/// What people said of today's accepted answers that were drawn at random. Shares are in 0 to 1, the interval is 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceLive)]
pub struct Live {
    /// Which engine answered.
    pub engine: String,
    /// Answers that a person looked at.
    pub rows: u32,
    /// Right ones.
    pub right: u32,
    /// Their share.
    pub share: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether it lies below what was measured on a file, beyond chance; null where nothing was.
    #[schema(required)]
    pub below_file: Option<bool>,
    /// What that means.
    pub says: String,
}

impl Live {
    /// Of what answers today; `None` where too few have been looked at. Where the engine is not known, it is the one that most
    /// were looked at of.
    pub(super) fn of(found: &[LiveAccuracy], looking: Looking<'_>, today: Option<&Setup>) -> Option<Self> {
        let measured = today.map(|today| today.accuracy.rated());
        let serves = |of: &&LiveAccuracy| looking.engine.is_none() || looking.is_served(&of.engine);
        let of_stage = found.iter().filter(|of| of.stage == looking.serving && of.audited >= ENOUGH);
        let of = of_stage.filter(serves).max_by_key(|of| of.audited)?;
        let share = metrics::wilson(of.audited_right as usize, of.audited as usize)?;
        let below_file = measured.as_ref().map(|rated| share.high < rated.share);
        let drawn = format!(
            "of {} accepted answers that were drawn at random, people found {} right ({} to {})",
            count(u64::from(of.audited)),
            percent(share.share),
            percent(share.low),
            percent(share.high)
        );
        let says = match (below_file, &measured) {
            (Some(true), Some(rated)) => format!(
                "{drawn}: below the {} on {}, which no longer stands for the traffic; score newer rows before money is spent",
                percent(rated.share),
                rated.source
            ),
            (Some(_), Some(rated)) => {
                format!("{drawn}: nothing speaks against the {} on {}", percent(rated.share), rated.source)
            }
            _ => format!("{drawn}; no stage was scored on a file, so this stands for all answers"),
        };
        let (engine, rows, right) = (of.engine.clone(), of.audited, of.audited_right);
        Some(Self { engine, rows, right, share: share.share, low: share.low, high: share.high, below_file, says })
    }

    /// As an accuracy, where nothing else is known.
    pub(super) fn accuracy(&self) -> Accuracy {
        let data = "accepted live answers drawn at random".to_owned();
        Accuracy::Measured { right: self.right, rows: self.rows, data, engine: self.engine.clone(), chosen_on: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audited(engine: &str, audited: u32, audited_right: u32) -> LiveAccuracy {
        LiveAccuracy {
            stage: "adapter".to_owned(),
            engine: engine.to_owned(),
            drawn: audited + 5,
            audited,
            audited_right,
            doubtful_judged: 900,
            doubtful_right: 10,
        }
    }

    fn today() -> Setup {
        let text = "
            name = 'adapter'
            lever = 'fine_tune'
            accuracy = { basis = 'measured', right = 930, rows = 1000, data = 'shops/dev', engine = 'adapter:a@1' }";
        toml::from_str(text).unwrap()
    }

    fn looking<'a>(serving: &'a str, engine: Option<&'a str>) -> Looking<'a> {
        Looking { serving, engine, taxonomy: "t@1", currency: "USD".parse().unwrap(), price: None }
    }

    #[test]
    fn live_answers_speak_where_there_are_enough_of_them() {
        let found = [audited("adapter:b@2", 4_000, 2_000), audited("adapter:a@1", 200, 190)];
        let serves = looking("adapter", Some("adapter:a@1"));
        let live = Live::of(&found, serves, Some(&today())).unwrap();
        assert_eq!((live.engine.as_str(), live.rows, live.below_file), ("adapter:a@1", 200, Some(false)));
        assert!(live.says.contains("nothing speaks against the 93 % on shops/dev"), "{}", live.says);
        let worse = Live::of(&[audited("adapter:a@1", 200, 160)], serves, Some(&today())).unwrap();
        assert!(worse.below_file == Some(true) && worse.says.contains("score newer rows"), "{}", worse.says);
        assert_eq!(Live::of(&[audited("adapter:a@1", ENOUGH - 1, 0)], serves, Some(&today())), None);
        assert_eq!(Live::of(&found, looking("few_shot", None), None), None);
        assert_eq!(Live::of(&found[..1], serves, None), None, "what answered before says nothing of what answers now");
        assert_eq!(Live::of(&found, looking("adapter", None), None).unwrap().rows, 4_000);
        let alone = Live::of(&found[1..], serves, None).unwrap();
        assert!(alone.below_file.is_none() && (alone.accuracy().share().get() - 0.95).abs() < 1e-12);
    }
}
