//! The model card of an adapter's folder.

use std::fmt::Write;

use super::folder::{AdapterFacts, percent};

/// `README.md`: front matter for hubs, then what a reader should know.
pub(super) fn card(facts: &AdapterFacts) -> String {
    let base = format!("sentence-transformers/{}", facts.base.name);
    let (dev, training) = (&facts.dev, &facts.training);
    let mut text = format!(
        "---\nlibrary_name: peft\nbase_model: {base}\nlicense: apache-2.0\npipeline_tag: text-classification\ntags:\n- base_model:adapter:{base}\n- lora\n- txcat\nmetrics:\n- accuracy\nmodel-index:\n- name: {name}\n  results:\n  - task:\n      type: text-classification\n    dataset:\n      name: \"{data}, dev\"\n      type: bank-transactions\n    metrics:\n    - type: accuracy\n      value: {accuracy:.4}\n---\n\n",
        name = facts.name,
        data = facts.data.replace('"', "'"),
        accuracy = dev.accuracy,
    );
    let _ = writeln!(text, "# {}\n", facts.name);
    let _ = writeln!(
        text,
        "Categorizes bank transactions into the {} categories of the taxonomy `{}`. Made by `txcat train`, served by txcat.\n",
        facts.categories.len(),
        facts.taxonomy
    );
    let _ = writeln!(text, "| | |\n|---|---|");
    let mut row = |what: &str, value: &str| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    row("trained on", &facts.data);
    row("labelled rows, lexicon terms, unlabelled texts", &facts.counts.map(|count| count.to_string()).join(", "));
    row("base model", &format!("{base}, `model.safetensors` sha256 `{}`", facts.base.sha256));
    let lora = &training.lora;
    let targets: Vec<_> = lora.targets.iter().map(|target| target.path()).collect();
    row(
        "LoRA",
        &format!("rank {}, alpha {}, dropout {}, on {}", lora.rank, lora.alpha, lora.dropout, targets.join(", ")),
    );
    row(
        "training",
        &format!(
            "AdamW, learning rate {} (head {}), batch {}, {} epochs (kept the {}.), seed {}",
            training.learning_rate,
            training.head_learning_rate,
            training.batch,
            training.epochs,
            facts.best_epoch,
            training.seed
        ),
    );
    row("accuracy on dev", &format!("{} of {} rows", percent(dev.accuracy), dev.rows));
    row("encoder and head alone, on dev", &percent(dev.encoder_accuracy));
    if let Some(wide) = dev.wide_accuracy {
        row("wide part alone, on dev", &percent(wide));
    }
    let from = |threshold: Option<f32>| threshold.map_or_else(|| "none".to_owned(), |at| format!("from {at:.4} on"));
    row(
        &format!("accepted at {} accuracy on dev", percent(training.target)),
        &format!(
            "known keys {}, unknown keys {}: {} of the rows",
            from(facts.acceptance.known),
            from(facts.acceptance.unknown),
            percent(dev.coverage)
        ),
    );
    text.push_str("\nDev rows chose the epoch, the fusion weights and the temperature, so the figures on them flatter; test figures come from `txcat eval`.\n\n## Files\n\n");
    text.push_str("`adapter_config.json` and `adapter_model.safetensors` are what Python's PEFT loads. It can't express what is in `txcat.safetensors`: the head over mean pooling (`head.weight`, `head.bias`), and the wide part (hashed pieces of the descriptor, amount and account into a logistic regression, hashes of known keys and of the lexicon's terms). txcat refuses the folder when a hash, the base model or a probe's answer differs.\n\n| file | sha256 |\n|---|---|\n");
    for (name, hash) in facts.files.iter().chain(&facts.sources) {
        let _ = writeln!(text, "| {name} | `{hash}` |");
    }
    text
}
