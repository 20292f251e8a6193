"""One pass of training by PyTorch and PEFT, and what it gets right of other rows: the peer of `txcat bench train`.

    python benches/peft_pass.py --model models/all-MiniLM-L6-v2 --data rows.csv [--dev other.csv] [--method lora|full]

Needs torch, transformers, tokenizers and peft. The files have the columns text and category. The mean over each text's tokens of the
last layer goes through a linear head; no dropout, one rate for all numbers, batches in the file's order, padded to their longest
text. Reading the encoder, cutting into tokens and the rows of --dev are outside the clock. Prints one line of JSON.
"""

import argparse
import csv
import json
import math
import os
import resource
import time

import peft
import tokenizers
import torch
import transformers

Z = 1.959963984540054

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--model", required=True, help="the base encoder's folder")
arguments.add_argument("--data", required=True)
arguments.add_argument("--dev")
arguments.add_argument("--method", default="lora", choices=["lora", "full"])
arguments.add_argument("--rank", type=int, default=16)
arguments.add_argument("--targets", default="all", choices=["all", "qv"])
arguments.add_argument("--rows", type=int, default=4_000)
arguments.add_argument("--batch", type=int, default=32)
arguments.add_argument("--max-tokens", type=int, default=96)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--lr", type=float, default=1e-3)
arguments.add_argument("--bf16", action="store_true")
arguments = arguments.parse_args()


def read(path, most=None):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:most]
    return [row["text"] for row in rows], [row["category"] for row in rows]


def wilson(right, rows):
    share = right / rows
    below = 1 + Z * Z / rows
    centre = (share + Z * Z / (2 * rows)) / below
    half = Z / below * math.sqrt(share * (1 - share) / rows + Z * Z / (4 * rows * rows))
    return {"n": rows, "share": share, "low": centre - half, "high": centre + half}


class Classifier(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        encoder = transformers.AutoModel.from_pretrained(arguments.model, add_pooling_layer=False)
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        self.head = torch.nn.Linear(encoder.config.hidden_size, classes)
        if arguments.method == "lora":
            targets = ["query", "value"] if arguments.targets == "qv" else ["query", "key", "value", "dense"]
            options = peft.LoraConfig(r=arguments.rank, lora_alpha=2 * arguments.rank, lora_dropout=0.0, target_modules=targets)
            encoder = peft.get_peft_model(encoder, options)
        self.encoder = encoder

    def forward(self, ids):
        longest = max(map(len, ids))
        tokens = torch.zeros((len(ids), longest), dtype=torch.long)
        present = torch.zeros_like(tokens)
        for row, of_row in enumerate(ids):
            tokens[row, : len(of_row)] = torch.tensor(of_row)
            present[row, : len(of_row)] = 1
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bf16):
            states = self.encoder(input_ids=tokens, attention_mask=present).last_hidden_state
            weights = present.unsqueeze(-1).to(states.dtype)
            return self.head((states * weights).sum(1) / weights.sum(1)).float()


def main():
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(arguments.model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(arguments.max_tokens)
    cut = lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    texts, categories = read(arguments.data, arguments.rows)
    ids, names = cut(texts), sorted(set(categories))
    classes = torch.tensor([names.index(category) for category in categories])
    model = Classifier(len(names))
    model.train()
    trains = [numbers for numbers in model.parameters() if numbers.requires_grad]
    optimizer = torch.optim.AdamW(trains, lr=arguments.lr)
    started = time.perf_counter()
    for at in range(0, len(ids), arguments.batch):
        loss = torch.nn.functional.cross_entropy(model(ids[at : at + arguments.batch]), classes[at : at + arguments.batch])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - started
    # Before the other rows are answered, which is no part of training.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    dev = None
    if arguments.dev:
        texts, wanted = read(arguments.dev)
        others = cut(texts)
        model.eval()
        with torch.inference_mode():
            answers = [place for at in range(0, len(others), 64) for place in model(others[at : at + 64]).argmax(1).tolist()]
        dev = wilson(sum(names[place] == category for place, category in zip(answers, wanted)), len(wanted))
    told = {
        "engine": "PyTorch + PEFT",
        "method": arguments.method,
        "bf16": arguments.bf16,
        "rows": len(ids),
        "samples_per_s": len(ids) / seconds,
        "seconds": seconds,
        "tokens_mean": sum(map(len, ids)) / len(ids),
        "trainable": sum(numbers.numel() for numbers in trains),
        "last_loss": loss.item(),
        "dev": dev,
        "peak_mb": peak,
    }
    print(json.dumps(told))


main()
