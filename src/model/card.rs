//! The model card of an adapter's folder.

use std::fmt::Write;

use super::{facts::AdapterFacts, folder::percent, infer::Format, method::Method, train::Origin};

/// `README.md`: front matter for hubs, then what a reader should know.
pub(super) fn card(facts: &AdapterFacts) -> String {
    let base = facts.base.repository();
    let (dev, training) = (&facts.dev, &facts.training);
    let in_peft = matches!(training.method, Method::Lora | Method::Qlora);
    let mut text = format!(
        "---\nlibrary_name: {library}\nbase_model: {base}\nlicense: apache-2.0\npipeline_tag: text-classification\ntags:\n- base_model:{relation}:{base}\n- {method}\n- txcat\nmetrics:\n- accuracy\nmodel-index:\n- name: {name}\n  results:\n  - task:\n      type: text-classification\n    dataset:\n      name: \"{data}, dev\"\n      type: bank-transactions\n    metrics:\n    - type: accuracy\n      value: {accuracy:.4}\n---\n\n",
        library = if in_peft { "peft" } else { "txcat" },
        relation = if training.method == Method::Full { "finetune" } else { "adapter" },
        method = training.method,
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
    if facts.base.quantization.is_some() {
        row("linear layers' weights", "NF4, blocks of 64, scales in 8 bits by 256, in training and in service");
    }
    row("trains", &trains(facts));
    row("training", &how(facts));
    row("accuracy on dev", &format!("{} of {} rows", percent(dev.accuracy), dev.rows));
    row("encoder and head alone, on dev", &percent(dev.encoder_accuracy));
    if let Some(wide) = dev.wide_accuracy {
        row("wide part alone, on dev", &percent(wide));
    }
    for (format, compared) in Format::ALL.into_iter().filter_map(|format| Some((format, dev.compared(format)?))) {
        let [right, exact, same] = [compared.accuracy, compared.exact_accuracy, compared.agreement].map(percent);
        let held = if compared.holds() { "`--precision auto` may take it" } else { "`--precision auto` leaves it" };
        row(&format!("in {format}, on dev"), &format!("{right} (f32 {exact}), the same answer to {same}: {held}"));
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
    text.push_str(numbers(training.method));
    text.push_str(" `txcat.safetensors` holds what PEFT can't express: the head over mean pooling (`head.weight`, `head.bias`), and the wide part (hashed pieces of the descriptor, amount and account into a logistic regression, hashes of known keys and of the lexicon's terms). txcat refuses the folder when a hash, the base model or a probe's answer differs.\n\n| file | sha256 |\n|---|---|\n");
    for (name, hash) in facts.files.iter().chain(&facts.sources) {
        let _ = writeln!(text, "| {name} | `{hash}` |");
    }
    text
}

/// What trained beside the head.
fn trains(facts: &AdapterFacts) -> String {
    let lora = &facts.training.lora;
    match facts.training.method {
        Method::Head => "the head alone, over the frozen encoder".to_owned(),
        Method::Full => format!("every weight of the encoder, {} numbers", facts.trained),
        Method::Lora | Method::Qlora => {
            let targets: Vec<_> = lora.targets.iter().map(|target| target.path()).collect();
            format!(
                "LoRA: rank {}, alpha {}, dropout {}, on {}",
                lora.rank,
                lora.alpha,
                lora.dropout,
                targets.join(", ")
            )
        }
    }
}

/// How it was trained, as far as that is known.
fn how(facts: &AdapterFacts) -> String {
    let training = &facts.training;
    let head = format!("AdamW, learning rate {}, batch {}", training.head_learning_rate, training.batch);
    let kept = format!("{} epochs (kept the {}.), seed {}", training.epochs, facts.best_epoch, training.seed);
    match facts.origin {
        Origin::Trained => format!(
            "AdamW, learning rate {} (head {}), batch {}, {kept}",
            training.learning_rate, training.head_learning_rate, training.batch
        ),
        Origin::Imported => format!("the difference by Python's PEFT; the head over it by {head}, {kept}"),
        Origin::ImportedWithHead => "difference and head in Python".to_owned(),
    }
}

/// Where the encoder's part lies.
fn numbers(method: Method) -> &'static str {
    match method {
        Method::Lora => "`adapter_config.json` and `adapter_model.safetensors` are what Python's PEFT loads.",
        Method::Qlora => {
            "`adapter_config.json` and `adapter_model.safetensors` are what Python's PEFT loads, on the base model in NF4 with double quantization; on its exact weights the answers differ."
        }
        Method::Full => {
            "`encoder_gains.safetensors` holds what every weight gained over the base model's, under its name in the checkpoint; of the word embeddings only the rows named in `embeddings.word_embeddings.weight.rows`, and the gain of token type 0 is within that of the positions."
        }
        Method::Head => "The encoder is the base model's, unchanged.",
    }
}
