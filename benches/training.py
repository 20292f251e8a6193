"""How fast do we train, and in how much memory, beside PyTorch and PEFT on the same rows?

    cargo build --release
    python benches/training.py --peer-python V/bin/python --encoder models/all-MiniLM-L6-v2 \\
        --pool pool.csv.gz --dev dev.csv.gz --ledger ledger.csv [--probe cpu_probe.c]

The peer's script (peft_pass.py; with --peer another) takes --model, --data, --method, --rank, --targets, --rows, --batch, --max-tokens,
--threads, --lr and, where --dev is given here, --dev, and prints what `txcat bench train` prints: one line of JSON with samples_per_s,
tokens_mean, trainable, last_loss, dev and peak_mb. Both get one CSV file with the columns text and category, made from rows drawn
from the pool with a seed (texts.py: with what was paid, with --ledger enriched). In each round both train one pass over all rows in
the same order, in turns first, and answer the rows of --dev. Prints rounds, medians, the median of the rounds' ratios, the last
round's accuracies with their 95 % Wilson intervals, and the probe. Fails where the two did not do the same work: other tokens,
other numbers that train, or a last loss that is far away. With --bf16 both multiply in bf16: we with the frozen weights, the peer
wherever autocast does.
"""

import argparse
import csv
import math
import os
import statistics
import sys
import tempfile

import machine
import texts

# We cut longer texts here, and so shall the peer.
MAX_TOKENS = 96

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PEFT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peft_pass.py")
arguments.add_argument("--peer", default=PEFT, type=machine.there, help="the peer's script")
arguments.add_argument("--peer-python", default=sys.executable, type=machine.there, help="a Python with torch, transformers and peft")
arguments.add_argument("--txcat", default="target/release/txcat", type=machine.there, help="the program")
arguments.add_argument("--encoder", default="models/all-MiniLM-L6-v2", type=machine.there, help="the base encoder's folder")
arguments.add_argument("--pool", required=True, type=machine.there, help="labelled rows: descriptor, amount, currency, direction, category, ledger")
arguments.add_argument("--dev", type=machine.there, help="labelled rows of the same form, to be answered after the pass")
arguments.add_argument("--dev-rows", type=int, default=2_000, help="rows of them that are drawn")
arguments.add_argument("--ledger", type=machine.there, help="descriptions of ledger codes, for enriched texts")
arguments.add_argument("--method", default="lora", choices=["lora", "full"])
arguments.add_argument("--rank", type=int, default=16)
arguments.add_argument("--targets", default="all", choices=["all", "qv"])
arguments.add_argument("--batch", type=int, default=32)
arguments.add_argument("--learning-rate", type=float, default=1e-3)
arguments.add_argument("--rows", type=int, default=1_024, help="rows of a pass")
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--bf16", action="store_true", help="both compute in bf16")
arguments.add_argument("--within", type=float, default=300, help="seconds that one pass may take")
machine.add_arguments(arguments)
arguments = arguments.parse_args()


def drawn(path, count):
    form = "enriched" if arguments.ledger else "paid"
    return texts.drawn(path, count, arguments.seed, form, arguments.ledger)


def write(path, made):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "category"), *made])


def main():
    probe = machine.Probe(arguments.probe, arguments.quiet)
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "train.csv")
        write(data, drawn(arguments.pool, arguments.rows))
        shared = ["--data", data, "--method", arguments.method, "--rank", str(arguments.rank), "--targets", arguments.targets]
        shared += ["--rows", str(arguments.rows), "--batch", str(arguments.batch)]
        if arguments.dev:
            dev = os.path.join(folder, "dev.csv")
            write(dev, drawn(arguments.dev, arguments.dev_rows))
            shared += ["--dev", dev]
        rate = str(arguments.learning_rate)
        ours = [arguments.txcat, "bench", "train", *shared, "--learning-rate", rate, "--encoder-dir", arguments.encoder]
        theirs = [arguments.peer_python, arguments.peer, "--model", arguments.encoder, *shared, "--lr", rate]
        theirs += ["--max-tokens", str(MAX_TOKENS), "--threads", str(arguments.threads)]
        if arguments.bf16:
            ours, theirs = [*ours, "--bf16"], [*theirs, "--bf16"]
        environment = os.environ | {"RAYON_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
        told = {"ours": [], "theirs": []}
        for at in range(arguments.rounds):
            turns = [("ours", ours), ("theirs", theirs)]
            for name, command in turns if at % 2 == 0 else turns[::-1]:
                machine_is = probe.ask()
                told[name].append(machine.last_json(command, environment, arguments.within))
                one = told[name][-1]
                print(
                    f"round {at + 1}, {one['engine']}: {one['samples_per_s']:.1f} samples/s, {one['peak_mb']} MB, "
                    f"{one['tokens_mean']:.1f} tokens, last loss {one['last_loss']:.3f}, probe {machine_is or 'none'}",
                    flush=True,
                )
    same_work(told)
    of = lambda name, field: [one[field] for one in told[name]]
    ratios = [a / b for a, b in zip(of("ours", "samples_per_s"), of("theirs", "samples_per_s"))]
    memory = [a / b for a, b in zip(of("ours", "peak_mb"), of("theirs", "peak_mb"))]
    first = told["ours"][0]
    print(
        f"\n{arguments.method}, rank {arguments.rank} on {arguments.targets}, batch {arguments.batch}, {arguments.threads} threads, "
        f"{'bf16' if arguments.bf16 else 'f32'}; {first['rows']} rows of {first['tokens_mean']:.1f} tokens, "
        f"{first['trainable']} numbers train; {arguments.rounds} interleaved rounds"
    )
    for name in told:
        print(f"{told[name][0]['engine']}: {machine.spread(of(name, 'samples_per_s'))} samples/s, {machine.spread(of(name, 'peak_mb'), 0)} MB at most")
    print(f"samples/s, ours to theirs: {machine.spread(ratios, 2)} (wanted: 1.5 at least)")
    print(f"peak memory, ours to theirs: {machine.spread(memory, 2)} (wanted: 0.5 at most)")
    if arguments.dev:
        for name in told:
            one = told[name][-1]
            of = one["dev"]
            print(f"{one['engine']}: {100 * of['share']:.1f} % ({100 * of['low']:.1f} to {100 * of['high']:.1f}) of {of['n']:,} rows of dev are right")
    print(probe.summary())
    probe.close()


def same_work(told):
    for ours, theirs in zip(told["ours"], told["theirs"]):
        for field in ["rows", "trainable"]:
            if ours[field] != theirs[field]:
                sys.exit(f"{field}: ours {ours[field]}, theirs {theirs[field]}: not the same work")
        if abs(ours["tokens_mean"] - theirs["tokens_mean"]) > 0.06:
            sys.exit(f"tokens: ours {ours['tokens_mean']}, theirs {theirs['tokens_mean']}: not the same work")
    ours, theirs = (statistics.median(one["last_loss"] for one in told[name]) for name in ["ours", "theirs"])
    # The two start from other random numbers, so that one batch's loss differs; who doesn't learn stays at the start's.
    if not math.isfinite(ours) or abs(ours - theirs) > 0.5 * max(ours, theirs, 1.0):
        sys.exit(f"last loss: ours {ours:.3f}, theirs {theirs:.3f}: not the same training")


main()
