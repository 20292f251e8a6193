"""Are our 4-bit weights those of bitsandbytes?

    python tests/nf4_check.py [--adapter models/adapters/QLORA --encoder models/all-MiniLM-L6-v2]

Compares the levels in src/model/nf4.rs with bitsandbytes' table, and prints bitsandbytes' own error on a normal matrix,
which the test in that file expects of ours. With a qlora adapter: puts the base encoder's linear weights through
bitsandbytes' NF4 with double quantization, loads the adapter on them with `peft`, and compares the logits of the stored
probes. Needs torch and bitsandbytes (its CPU build will do), and for the adapter what peft_check.py needs.
"""

import argparse
import json
import os
import re
import subprocess
import sys

import bitsandbytes.functional as bnb
import torch

arguments = argparse.ArgumentParser()
arguments.add_argument("--adapter")
arguments.add_argument("--encoder")
arguments = arguments.parse_args()
here = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(here, "..", "src", "model", "nf4.rs"), encoding="utf-8") as file:
    table = re.search(r"const LEVELS: \[f32; 16\] = \[(.*?)\];", file.read(), re.S).group(1)
ours = [float(level.replace("_", "")) for level in table.replace("\n", "").split(",") if level.strip()]
theirs = bnb.get_4bit_type("nf4", device="cpu").tolist()
apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))

matrix = torch.randn(384, 1536, generator=torch.Generator().manual_seed(1))
packed, state = bnb.quantize_4bit(matrix, blocksize=64, compress_statistics=True, quant_type="nf4")
error = (matrix - bnb.dequantize_4bit(packed, state)).abs().mean().item()
bytes_ = packed.numel() + state.absmax.numel() + 4 * state.state2.absmax.numel() + 4
print(json.dumps({"levels_apart": apart, "error": error, "bits_a_number": 8 * bytes_ / matrix.numel()}))
if apart > 1e-6:
    sys.exit("the levels differ")
if abs(error - 0.0728) > 0.001:
    sys.exit("the error is not the one that the test in src/model/nf4.rs expects")
if arguments.adapter:
    check = [sys.executable, os.path.join(here, "peft_check.py")]
    sys.exit(subprocess.call(check + ["--adapter", arguments.adapter, "--encoder", arguments.encoder, "--within", "5e-3"]))
