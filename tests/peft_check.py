"""Does Python load what `txcat train` saved, and does it compute the same?

    python tests/peft_check.py --adapter models/adapters/demo --encoder models/all-MiniLM-L6-v2

Loads the adapter's LoRA with `peft` on `transformers`' BERT and the head from txcat.safetensors, computes the logits of
the probes stored in txcat.json, and fails when one differs by more than --within. Needs torch, transformers, peft,
safetensors and tokenizers. PEFT can't express the wide part: the probes' encoder_logits are without it. The base of an
adapter trained by `--method qlora` is put through bitsandbytes' NF4 first, which is needed then.
"""

import argparse
import json
import os
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModel

MAX_TOKENS = 96  # as in src/model/tokens.rs

arguments = argparse.ArgumentParser()
arguments.add_argument("--adapter", required=True)
arguments.add_argument("--encoder", required=True)
arguments.add_argument("--within", type=float, default=1e-3)
arguments = arguments.parse_args()

with open(os.path.join(arguments.adapter, "txcat.json"), encoding="utf-8") as file:
    facts = json.load(file)
base = AutoModel.from_pretrained(arguments.encoder, add_pooling_layer=False).eval()
if facts["base"].get("quantization"):
    import bitsandbytes.functional as bnb

    for name, weight in base.named_parameters():
        if name.startswith("encoder.layer.") and weight.ndim == 2:
            packed, state = bnb.quantize_4bit(weight.data, blocksize=64, compress_statistics=True, quant_type="nf4")
            weight.data = bnb.dequantize_4bit(packed, state)
tokenizer = Tokenizer.from_file(os.path.join(arguments.encoder, "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(MAX_TOKENS)
head = load_file(os.path.join(arguments.adapter, "txcat.safetensors"))


def logits(model, text):
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.inference_mode():
        hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    return hidden.mean(1)[0] @ head["head.weight"].T + head["head.bias"]


texts = [probe["input"]["text"] for probe in facts["probes"]]
without = [logits(base, text) for text in texts]
model = PeftModel.from_pretrained(base, arguments.adapter).eval()
trained = sum("lora_" in name for name, _ in model.named_parameters())
ours = [torch.tensor(probe["encoder_logits"]) for probe in facts["probes"]]
found = [logits(model, text) for text in texts]
apart = max((a - b).abs().max().item() for a, b in zip(found, ours))
moved = max((a - b).abs().max().item() for a, b in zip(found, without))
print(json.dumps({"probes": len(texts), "lora_tensors": trained, "largest_difference": apart, "moved_by_adapter": moved}))
if not texts or trained != len(load_file(os.path.join(arguments.adapter, "adapter_model.safetensors"))):
    sys.exit("not every LoRA tensor was loaded")
if apart > arguments.within:
    sys.exit(f"differs by more than {arguments.within}")
if moved < 1e-2:
    sys.exit("the adapter changes nothing")
