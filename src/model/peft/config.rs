//! `adapter_config.json` of Python's PEFT: which settings are read, and which refused.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        bert::Config,
        lora::{TARGETS, Target},
    },
    Refusal,
};

/// Settings of PEFT that change what is computed and have no counterpart here, unless they are off.
const CHANGES: [&str; 22] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "velora_config",
];

/// Ways to begin that leave the base model's weights alone; the others store a difference to other weights.
const BEGINNINGS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// `adapter_config.json`, as far as it is read.
#[derive(Deserialize)]
pub(super) struct PeftConfig {
    peft_type: Value,
    pub(super) r: usize,
    lora_alpha: f32,
    #[serde(default)]
    pub(super) lora_dropout: f32,
    target_modules: Value,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

impl PeftConfig {
    /// Refuses what changes the arithmetic.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let refused = |key: &str, value: &Value| Refusal::Setting { key: key.into(), value: value.clone() };
        if self.peft_type != "LORA" {
            return Err(refused("peft_type", &self.peft_type));
        }
        for (key, value) in &self.others {
            let changes = CHANGES.contains(&key.as_str()) || key.starts_with("use_");
            let begins_elsewhere = key == "init_lora_weights"
                && !value.is_boolean()
                && !value.as_str().is_some_and(|name| BEGINNINGS.contains(&name));
            if (changes && !is_off(value)) || begins_elsewhere {
                return Err(refused(key, value));
            }
        }
        Ok(())
    }

    /// PEFT's scale is `alpha / r`, or `alpha / √r`; ours is the former.
    pub(super) fn alpha(&self) -> f32 {
        if self.use_rslora { self.lora_alpha * (self.r as f32).sqrt() } else { self.lora_alpha }
    }

    /// The targets that `target_modules` takes, by PEFT's rules: names are whole suffixes, one string is
    /// a regular expression for the whole name.
    pub(super) fn targets(&self, config: &Config, prefix: &str) -> Result<Vec<Target>, Refusal> {
        let setting = || Refusal::Setting { key: "target_modules".into(), value: self.target_modules.clone() };
        let whole = |pattern: &str| Regex::new(&format!("^(?:{pattern})$")).map_err(|_| setting());
        let takes = match &self.target_modules {
            Value::String(all) if all == "all-linear" => vec![whole(".*")?],
            Value::String(pattern) => vec![whole(pattern)?],
            Value::Array(names) => {
                let suffix = |name: &Value| {
                    let name = name.as_str().ok_or_else(setting)?;
                    whole(&format!(r"(?:.*\.)?{}", regex::escape(name)))
                };
                names.iter().map(suffix).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(setting()),
        };
        let name = |layer: usize, target: Target| format!("{prefix}encoder.layer.{layer}.{}", target.path());
        let layers = || 0..config.num_hidden_layers;
        for (place, takes) in takes.iter().enumerate() {
            if !TARGETS.into_iter().any(|target| layers().any(|layer| takes.is_match(&name(layer, target)))) {
                let target = self.target_modules.get(place).unwrap_or(&self.target_modules);
                return Err(Refusal::UnknownTarget { target: target.to_string().into() });
            }
        }
        let mut targets = Vec::new();
        for target in TARGETS {
            let taken =
                layers().filter(|layer| takes.iter().any(|takes| takes.is_match(&name(*layer, target)))).count();
            if taken == config.num_hidden_layers {
                targets.push(target);
            } else if taken > 0 {
                return Err(Refusal::SomeLayers { module: target.path() });
            }
        }
        Ok(targets)
    }
}

/// As PEFT writes what isn't used.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text == "none" || text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Number(_) => false,
    }
}
