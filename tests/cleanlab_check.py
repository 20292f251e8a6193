"""Does Python's cleanlab judge labels as `txcat data check` does, given the same out-of-fold probabilities?

    txcat data check --data DIR --flip 0.05 --probabilities probabilities.csv
    python tests/cleanlab_check.py probabilities.csv

Reads the file and fails when a ranking's Spearman correlation is below --spearman, or when the rows picked by one way of
pruning overlap (intersection over union) by less than --overlap. Where labels were flipped, prints both programs' precision
and recall of the flips. Needs cleanlab (AGPL-3.0, which is why it is run beside this project and no part of it), numpy and
scipy; written against cleanlab 2.9.
"""

import argparse
import csv
import json
import sys

import numpy
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.stats import spearmanr

PRUNES = {"noise_rate": "prune_by_noise_rate", "class": "prune_by_class", "both": "both"}

arguments = argparse.ArgumentParser()
arguments.add_argument("probabilities")
arguments.add_argument("--spearman", type=float, default=0.99)
arguments.add_argument("--overlap", type=float, default=0.9)
arguments = arguments.parse_args()

with open(arguments.probabilities, encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
columns = [name for name in rows[0] if name.startswith("p_")]
probabilities = numpy.array([[float(row[name]) for name in columns] for row in rows])
labels = numpy.array([int(row["label"]) for row in rows])
flipped = numpy.array([row["flipped"] == "1" for row in rows])


def quality(picked):
    hits = int((picked & flipped).sum())
    called, wrong = int(picked.sum()), int(flipped.sum())
    if not wrong:
        return {"called": called}
    return {"called": called, "precision": round(hits / max(called, 1), 4), "recall": round(hits / wrong, 4)}


failed = []
report = {"rows": len(rows), "classes": len(columns), "flipped": int(flipped.sum()), "spearman": {}, "picked": {}}
for name in ["self_confidence", "normalized_margin"]:
    theirs = get_label_quality_scores(labels, probabilities, method=name)
    ours = numpy.array([float(row[name]) for row in rows])
    report["spearman"][name] = round(float(spearmanr(ours, theirs).statistic), 6)
    if report["spearman"][name] < arguments.spearman:
        failed.append(f"{name} ranks otherwise")
for ours, theirs in PRUNES.items():
    picked = numpy.array([row[ours] == "1" for row in rows])
    other = find_label_issues(labels, probabilities, filter_by=theirs, n_jobs=1)
    overlap = int((picked & other).sum()) / max(int((picked | other).sum()), 1)
    report["picked"][ours] = {"txcat": quality(picked), "cleanlab": quality(other), "overlap": round(overlap, 4)}
    if overlap < arguments.overlap:
        failed.append(f"{ours} picks other rows")
joint = compute_confident_joint(labels, probabilities)
report["cleanlab_noise"] = round(1 - float(joint.trace()) / float(joint.sum()), 4)
print(json.dumps(report, indent=2))
if failed:
    sys.exit("; ".join(failed))
