"""Does an adapter go from Python to txcat and back, and compute the same everywhere?

    python tests/peft_round_trip.py --encoder models/all-MiniLM-L6-v2 --txcat target/debug/txcat [--within 1e-3]

Trains tiny LoRA adapters with `peft` on a made-up data set, one for each way of naming targets and scaling, imports them
with `txcat adapters import`, and compares the logits that txcat stored for its probes with those of the Python model that
was saved. Then loads what txcat wrote with `peft` again (tests/peft_check.py), also from a `txcat train` of its own. Then
sees that what txcat can't compute is refused by its name. Needs what peft_check.py needs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel

arguments = argparse.ArgumentParser()
arguments.add_argument("--encoder", required=True)
arguments.add_argument("--txcat", required=True)
arguments.add_argument("--within", type=float, default=1e-3)
arguments = arguments.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
work = tempfile.TemporaryDirectory()
torch.manual_seed(1)

WORDS = {"cafe": ["coffee", "espresso", "tea house"], "fuel": ["shell", "petrol", "gas station"], "salary": ["payroll", "wages", "acme employer"]}
CATEGORIES = list(WORDS)
data = os.path.join(work.name, "data")
os.mkdir(data)
rows = [(word, category, town) for town in ["oakland", "york", "leeds", "bern"] for category in CATEGORIES for word in WORDS[category]]
for name, part in [("categories", None), ("pool", rows[:27]), ("dev", rows[27:])]:
    with open(os.path.join(data, f"{name}.csv"), "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        if part is None:
            out.writerows([["category", "description"]] + [[category, category] for category in CATEGORIES])
            continue
        out.writerow("id,posted_on,account_id,descriptor,amount,direction,currency,category".split(","))
        for at, (word, category, town) in enumerate(part):
            direction = "credit" if category == "salary" else "debit"
            out.writerow([f"{name}-{at}", f"2025-01-{at + 1:02}", "a1", f"{word} {town}", "12.50", direction, "USD", category])

tokenizer = Tokenizer.from_file(os.path.join(arguments.encoder, "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(96)


def logits(model, head, text):
    ids = torch.tensor([tokenizer.encode(text).ids])
    hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    return head(hidden.mean(1))[0]


def trained(name, with_head=True, pooler=False, **settings):
    """Trains and saves; gives model, head and folder."""
    base = AutoModel.from_pretrained(arguments.encoder, add_pooling_layer=pooler)
    model = get_peft_model(base, LoraConfig(lora_alpha=8, **settings))
    head = torch.nn.Linear(base.config.hidden_size, len(CATEGORIES))
    numbers = [number for number in [*model.parameters(), *head.parameters()] if number.requires_grad]
    optimizer = torch.optim.AdamW(numbers, lr=1e-3)
    model.train()
    for word, category, town in rows[:27]:
        loss = torch.nn.functional.cross_entropy(logits(model, head, f"{word} {town}"), torch.tensor(CATEGORIES.index(category)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = os.path.join(work.name, name)
    model.save_pretrained(folder)
    if with_head:
        save_file({"head.weight": head.weight.detach().clone(), "head.bias": head.bias.detach().clone()}, os.path.join(folder, "head.safetensors"))
    return model.eval(), head, folder


def txcat(*words):
    command = [arguments.txcat, "--encoder-dir", arguments.encoder, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def succeeded(done):
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def loads_in_python(folder):
    check = [sys.executable, os.path.join(here, "peft_check.py"), "--adapter", folder, "--encoder", arguments.encoder]
    succeeded(subprocess.run(check + ["--within", str(arguments.within)], capture_output=True, text=True, check=False))


def same(model, head, probes):
    """The largest difference of the model's logits from those that txcat stored."""
    with torch.inference_mode():
        found = [logits(model, head, probe["input"]["text"]) for probe in probes]
    return max((a - torch.tensor(probe["encoder_logits"])).abs().max().item() for a, probe in zip(found, probes))


WAYS = {
    "suffixes": dict(r=4, target_modules=["query", "value", "dense"]),
    "pooler": dict(r=4, target_modules=["query", "value", "dense"], pooler=True),
    "regex": dict(r=3, target_modules=r"encoder\.layer\.\d+\.(attention\.self\.key|output\.dense)"),
    "all-linear": dict(r=2, target_modules="all-linear"),
    "rslora": dict(r=16, target_modules=["query"], use_rslora=True),
    "no head": dict(r=4, target_modules=["query", "value"], with_head=False),
}
for name, settings in WAYS.items():
    model, head, folder = trained(name, **settings)
    imported = os.path.join(work.name, f"{name} imported")
    succeeded(txcat("adapters", "import", folder, "--out", imported, "--data", data))
    with open(os.path.join(imported, "txcat.json"), encoding="utf-8") as file:
        probes = json.load(file)["probes"]
    stored = load_file(os.path.join(imported, "txcat.safetensors"))
    if not settings.get("with_head", True):  # then txcat trained it
        head.weight.data, head.bias.data = stored["head.weight"], stored["head.bias"]
    there = same(model, head, probes)
    base = AutoModel.from_pretrained(arguments.encoder, add_pooling_layer=False)
    without = same(base, head, probes)
    back = same(PeftModel.from_pretrained(base, imported).eval(), head, probes)
    print(json.dumps({"way": name, "probes": len(probes), "into_txcat": there, "and_back": back, "moved_by_adapter": without}))
    if not probes or max(there, back) > arguments.within or without < 10 * arguments.within:
        sys.exit(f"differs by more than {arguments.within}, or the adapter does nothing")

ours = os.path.join(work.name, "ours")
succeeded(txcat("train", "--data", data, "--out", ours, "--epochs", "2", "--rank", "4"))
loads_in_python(ours)
again = os.path.join(work.name, "again")
succeeded(txcat("adapters", "import", ours, "--out", again, "--data", data))
loads_in_python(again)

REFUSED = {
    "use_dora": dict(r=2, target_modules=["query"], use_dora=True),
    "bias": dict(r=2, target_modules=["query"], bias="lora_only"),
    "rank_pattern": dict(r=2, target_modules=["query"], rank_pattern={"layer.0.attention.self.query": 4}),
    "layers_to_transform": dict(r=2, target_modules=["query"], layers_to_transform=[0, 1]),
    "modules_to_save": dict(r=2, target_modules=["query"], modules_to_save=["word_embeddings"]),
    "word_embeddings": dict(r=2, target_modules=["query", "word_embeddings"]),
    "init_lora_weights": dict(r=2, target_modules=["query"], init_lora_weights="pissa"),
}
for name, settings in REFUSED.items():
    _, _, folder = trained(f"refused {name}", **settings)
    done = txcat("adapters", "import", folder, "--out", os.path.join(work.name, "never"), "--data", data)
    print(json.dumps({"refused": name, "because": done.stderr.strip().splitlines()[-1:]}))
    if done.returncode == 0 or name not in done.stderr:
        sys.exit(f"{name} was not refused by its name")
