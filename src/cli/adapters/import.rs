//! `txcat adapters import`: a LoRA that Python's PEFT trained.

use std::path::{Path, PathBuf};

use crate::{
    cli::{
        Settings, models,
        train::{Prepared, Source, Watch, interrupted, tell_dev},
    },
    model::{
        Method, PeftAdapter, replaceable,
        train::{Progress, TrainOptions},
        wide::WideOptions,
    },
};

/// Reads `adapter_config.json` and `adapter_model.safetensors`, and refuses by name what txcat can't compute.
///
/// The head is `head.weight` and `head.bias` (categories in the order of the data set's) of another
/// safetensors file of the folder; without one it is trained on the labels over the frozen adapted encoder.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The folder that Python's `save_pretrained` wrote.
    #[arg(value_name = "PEFT_DIR")]
    pub peft: PathBuf,

    /// The adapter's folder; what stood there is replaced.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Which labels.
    #[command(flatten)]
    pub source: Source,

    /// Train the wide part beside it.
    #[arg(long)]
    pub wide: bool,

    /// Accuracy that accepted answers shall have on dev.
    #[arg(long, default_value_t = 0.92)]
    pub target: f64,
}

impl Import {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let base = models::pull(settings, None).await?;
        let peft = PeftAdapter::read(&self.peft, &base)?;
        if let Some(named) = peft.base.as_deref().filter(|named| !ends_with(named, &base.name)) {
            println!("it names {named} as its base model; it is put on {}", base.name);
        }
        for name in &peft.passed_over {
            println!("passed over, because it is zero and mean pooling never reads it: {name}");
        }
        let stop = interrupted();
        replaceable(&self.out)?;
        let facts = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let Prepared { rows, mut naming } = self.source.prepare(self.wide)?;
            naming.sources.extend(peft.sources.clone());
            let head = if peft.classes().is_some() { "its own head" } else { "a head trained" };
            naming.data = format!("a PEFT adapter, with {head} on {}", naming.data);
            let options = TrainOptions {
                wide: self.wide.then(WideOptions::default),
                target: self.target,
                seed: self.source.seed,
                epochs: Method::Head.epochs(),
                ..TrainOptions::default()
            };
            let mut watch = Watch::new();
            let mut show = |step: Progress| watch.show(step);
            let trained = peft.import(&base, &rows, naming.categories.len(), &options, &mut show, &stop)?;
            watch.end();
            Ok(trained.save(&self.out, naming)?)
        })
        .await??;
        tell_dev(&facts);
        Ok(())
    }
}

/// Whether a hub's name, or a folder's, ends in a model's name.
fn ends_with(named: &str, model: &str) -> bool {
    Path::new(named).file_name().is_some_and(|last| last == model)
}
