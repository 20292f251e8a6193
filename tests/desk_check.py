"""Are the desk's kappa and the audits' accuracy those of scikit-learn, on what the desk exports?

    python tests/desk_check.py target/release/txcat [--rows 1200] [--keep DIR]

Starts the service on an empty data folder with half of the accepted answers drawn for an audit. Two people decide all that
waits and label again what they are asked about, wrong now and then and not alike (a seeded draw). Then the exported decisions
and pairs of labels are read, and every figure that the service tells is computed again from them. Fails where one differs by
more than 1e-9. Needs scikit-learn; written against 1.9.
"""

import argparse
import collections
import csv
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import urllib.request

from sklearn.metrics import accuracy_score, cohen_kappa_score

MERCHANTS = [
    "SHELL OIL 57444", "STARBUCKS STORE 0412", "WHOLEFDS MKT 10233", "NETFLIX.COM", "UBER TRIP", "LYFT RIDE", "CVS/PHARMACY 08",
    "TRADER JOE S 552", "SPOTIFY USA", "DELTA AIR 0062", "HILTON HOTELS", "PETCO 1123", "ZORBLATT QUINX", "MERKUR HALVE",
    "OLD PINE LODGE", "RIVERBEND SUPPLY", "KITE AND KEY", "HOUSE OF ELM", "NORTHSTAR 88", "PLUM TREE CO",
]
CATEGORIES = ["supermarket", "restaurant", "coffee_shop", "fast_food", "electronics", "rent"]

arguments = argparse.ArgumentParser()
arguments.add_argument("txcat")
arguments.add_argument("--rows", type=int, default=1200)
arguments.add_argument("--keep", help="write what was exported into this folder")
arguments = arguments.parse_args()
chance = random.Random(1)


def called(*words):
    done = subprocess.run([arguments.txcat, "--data-dir", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout


def key_in(text):
    return next(word for word in text.split() if word.startswith("txcat_"))


def ask(path, body=None, key=None, raw=False):
    request = urllib.request.Request(base + path, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {key}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=120) as answer:
        text = answer.read().decode()
    return text if raw else (json.loads(text) if text else None)


def labelled(category):
    return category if chance.random() < 0.8 else chance.choice(CATEGORIES)


def work(key, lane):
    decided = 0
    while groups := ask("/v1/reviews/claims", {"lane": lane, "count": 50}, key)["groups"]:
        for group in groups:
            row = group["transaction"]
            said = {"transaction_id": row["id"], "category": labelled(row["category"]), "scope": "transaction"}
            ask("/v1/reviews/decisions", said, key)
            decided += 1
    return decided


def label_again(key):
    labels = 0
    while asked := ask("/v1/reviews/second-labels/claims", {"count": 50}, key)["asked"]:
        for row in asked:
            category = labelled(first[row["id"]])
            ask(f"/v1/reviews/second-labels/{row['decision']}", {"category": category}, key)
            labels += 1
    return labels


def rows_of(path):
    text = ask(path, key=people[0], raw=True)
    if arguments.keep:
        name = path.split("?")[0].rsplit("/", 1)[1]
        pathlib.Path(arguments.keep, f"{name}.csv").write_text(text, encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def check(name, ours, theirs, n):
    if abs(ours - theirs) > 1e-9:
        sys.exit(f"{name}: {ours}, and scikit-learn says {theirs}")
    print(f"{name}: {ours:.6f} of {n} rows, as scikit-learn says")


with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder).chmod(0o755)
    ingest = key_in(called("keys", "create", "--name", "backend", "--scope", "ingest,read"))
    people = [key_in(called("people", "add", name, "--role", "analyst")) for name in ("analyst-1", "analyst-2")]
    server = subprocess.Popen(
        [arguments.txcat, "--data-dir", folder, "serve", "--bind", "127.0.0.1:0", "--audit-share", "0.5"],
        stderr=subprocess.PIPE, text=True,
    )
    try:
        line = next(line for line in server.stderr if "http://" in line)
        base = "http://" + line.split("http://")[1].split("/")[0]
        threading.Thread(target=lambda: collections.deque(server.stderr, maxlen=0), daemon=True).start()
        for start in range(0, arguments.rows, 100):
            rows = [
                {
                    "id": f"t{n}", "account_id": f"acc-{n % 40}", "posted_at": f"2026-03-{1 + n % 28:02}T10:00:00Z",
                    "descriptor": MERCHANTS[n % len(MERCHANTS)], "amount": f"{5 + n % 90}.00", "currency": "USD",
                    "direction": "debit",
                }
                for n in range(start, min(start + 100, arguments.rows))
            ]
            ask("/v1/transactions", {"transactions": rows}, ingest)
        decided = sum(work(people[n % 2], lane) for n, lane in enumerate(("audit", "doubtful")))
        first = {row["transaction_id"]: row["category"] for row in rows_of("/v1/reviews/export?format=csv&what=decisions")}
        again = sum(label_again(key) for key in people)
        decisions = rows_of("/v1/reviews/export?format=csv&what=decisions")
        pairs = rows_of("/v1/reviews/second-labels")
        agreement = ask("/v1/reviews/numbers", key=people[0])["agreement"]
        live = ask("/v1/accuracy", key=people[0])["live"]
    finally:
        server.terminate()
        server.wait(timeout=60)

print(f"{decided} decisions, {again} labelled again")
if len(pairs) != again or agreement["pairs"] != again or again < 20:
    sys.exit(f"{len(pairs)} pairs exported, {agreement['pairs']} told, {again} given")
kappa = cohen_kappa_score([pair["first"] for pair in pairs], [pair["second"] for pair in pairs])
check("Cohen's kappa", agreement["kappa"], kappa, len(pairs))
for told in agreement["people"]:
    of = [pair for pair in pairs if (pair["first_by"], pair["second_by"]) == (told["first"], told["second"])]
    theirs = cohen_kappa_score([pair["first"] for pair in of], [pair["second"] for pair in of])
    check(f"kappa of {told['first']} and {told['second']}", told["kappa"], theirs, len(of))
for engine in live:
    audits = [row for row in decisions if row["reason"] == "audit" and row["engine"] == engine["engine"]]
    if not audits:
        sys.exit(f"{engine['engine']}: no audit was exported")
    theirs = accuracy_score([row["category"] for row in audits], [row["predicted"] for row in audits])
    check(f"audits of {engine['engine']}", engine["accepted"]["share"], theirs, len(audits))
if not live:
    sys.exit("no live accuracy is told")
