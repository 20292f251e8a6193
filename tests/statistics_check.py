"""Are the tracker's figures those of scikit-learn, statsmodels and netcal, on the same rows?

    txcat eval show 3 --json --items ours.csv >ours.json
    txcat eval show 2 --json --items theirs.csv >theirs.json
    txcat eval compare 2 3 --json >compared.json
    python tests/statistics_check.py ours.json ours.csv [--against theirs.csv compared.json] [--taxonomy consumer.toml]

Reads the rows, computes every figure again and fails where one differs: closed forms by more than 1e-9, ends of BCa
intervals by merchant from scipy's own by more than drawing explains. What no package has (the area under the risk-coverage curve, and bins
of equal size where confidences are tied) is computed here in plain numpy, which is itself held to netcal on untied rows.
Needs numpy, scipy, scikit-learn, statsmodels and netcal; written against 2.4, 1.17, 1.9, 0.15 and 1.4.
"""

import argparse
import collections
import csv
import json
import sys
import tomllib

import numpy
from netcal.metrics import ECE
from scipy.stats import binomtest, bootstrap
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

FLOOR, BINS, DRAWS, OUR_DRAWS = 1e-4, 15, 4000, 1999

arguments = argparse.ArgumentParser()
arguments.add_argument("report")
arguments.add_argument("items")
arguments.add_argument("--against", nargs=2, metavar=("ITEMS", "COMPARED"))
arguments.add_argument("--taxonomy", help="a taxonomy in TOML, for primary categories")
arguments = arguments.parse_args()


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


report = json.load(open(arguments.report, encoding="utf-8"))
figures, rows = report["figures"], rows_of(arguments.items)
gold = numpy.array([row["expected"] for row in rows])
said = numpy.array([row["predicted"] for row in rows])
# Confidences are 32-bit numbers; their shortest decimal is not the number itself.
sure = numpy.array([row["confidence"] for row in rows], dtype=numpy.float32).astype(float)
right = gold == said
keys = numpy.unique([row["key"] or row["id"] for row in rows], return_inverse=True)[1]
rng = numpy.random.default_rng(1)
compared, failed = 0, []


def same(name, ours, theirs, most=1e-9):
    global compared
    compared += 1
    if ours is None or not abs(ours - theirs) <= most:
        failed.append(f"{name}: {ours}, not {theirs}")


def same_share(name, ours, hits, rows):
    low, high = proportion_confint(hits, rows, method="wilson")
    for part, value in [("n", rows), ("share", hits / rows), ("low", low), ("high", high)]:
        same(f"{name} {part}", ours[part], value)


def same_interval(name, ours, figure):
    """BCa by scipy, merchants drawn; `figure` takes weights: how often each row's merchant was drawn."""
    many = keys.max() + 1

    def drawn(places, axis):
        return numpy.apply_along_axis(lambda of: figure(numpy.bincount(of, minlength=many)[keys]), axis, places)

    found = bootstrap((numpy.arange(many),), drawn, n_resamples=DRAWS, method="BCa", batch=200, vectorized=True, rng=rng)
    # Four standard errors of an end: of a 2.5 % quantile and of the bias that moves it, of our draws and of scipy's.
    most = 4 * (2.67**2 + 2.5**2) ** 0.5 * found.standard_error * (1 / DRAWS + 1 / OUR_DRAWS) ** 0.5
    for part, value in zip(["low", "high"], found.confidence_interval):
        same(f"{name} {part}", ours[part], value, most)


# Over all rows.
same("accuracy", figures["accuracy"]["share"], accuracy_score(gold, said))
same_share("accuracy", figures["accuracy"], int(right.sum()), len(rows))
answered = numpy.array([not row["error"] for row in rows])
same_share("answered", figures["answered"], int(right[answered].sum()), int(answered.sum()))
same("macro F1", figures["macro_f1"], f1_score(gold, said, average="macro", zero_division=0))
same("weighted F1", figures["weighted_f1"], f1_score(gold, said, average="weighted", zero_division=0))

# Category by category.
names = [of["category"] for of in report["classes"]]
assert set(names) == set(gold) | set(said), "categories differ"
columns = precision_recall_fscore_support(gold, said, labels=names, zero_division=0)
for of, precision, recall, f1, support in zip(report["classes"], *columns):
    name = of["category"]
    same(f"{name} support", of["support"], support)
    same(f"{name} F1", of["f1"], f1)
    same(f"{name} precision", of["precision"] or 0, precision)
    if support:
        same_share(f"{name} recall", of["recall"], of["right"], int(support))
        same(f"{name} recall", of["recall"]["share"], recall)
matrix = confusion_matrix(gold, said, labels=names)
for of in report["mistakes"]:
    cell = matrix[names.index(of["expected"]), names.index(of["predicted"])]
    same(f"{of['expected']} taken for {of['predicted']}", of["rows"], cell)

# Probabilities.
told = [row for row in rows if row["gold_probability"]]
if told:
    truths = numpy.array([row["gold_probability"] for row in told], dtype=numpy.float32).astype(float)
    for row, truth in zip(told, truths):
        others = {other["category"]: other["confidence"] for other in json.loads(row["alternatives"])}
        is_right = row["expected"] == row["predicted"]
        given = numpy.float32(row["confidence"]) if is_right else others.get(row["expected"], 0)
        given = 0 if row["error"] else given
        same(f"{row['id']} probability of the truth", truth, float(given), 1e-7)
    floored = numpy.clip(truths, FLOOR, 1)
    two = numpy.column_stack([1 - floored, floored])
    same("log loss", figures["log_loss"], log_loss(numpy.ones(len(two)), two, labels=[0, 1]))
    ranks = [int(row["gold_rank"] or 0) for row in told]
    same_share("top 3", figures["top3"], sum(1 <= rank <= 3 for rank in ranks), len(told))
    # The same by scikit-learn: scores of four places, of which the truth holds the one of its rank.
    places = numpy.array([rank - 1 if 1 <= rank <= 3 else 3 for rank in ranks])
    scores = numpy.tile([4.0, 3.0, 2.0, 1.0], (len(told), 1))
    same("top 3", figures["top3"]["share"], top_k_accuracy_score(places, scores, k=3, labels=range(4)))

if figures["ece"] is not None:
    same("Brier score of the answer", figures["answer_brier"], brier_score_loss(right, sure))

    def ranked(sure, right):
        """Calibration error over bins of equal size, and the area under the risk-coverage curve; ties share their mean."""
        order = numpy.argsort(sure, kind="stable")
        sure = sure[order]
        _, place, size = numpy.unique(sure, return_inverse=True, return_counts=True)
        shares = (numpy.bincount(place, weights=right[order]) / size)[place]
        edges = [bin * len(sure) // BINS for bin in range(BINS + 1)]
        gaps = [abs((shares[a:b] - sure[a:b]).sum()) for a, b in zip(edges, edges[1:])]
        risks = numpy.cumsum(1 - shares[::-1]) / numpy.arange(1, len(sure) + 1)
        return sum(gaps) / len(sure), risks.mean(), risks[::-1], shares, sure, edges

    ece, aurc, risks, shares, ordered, edges = ranked(sure, right)
    same("calibration error", figures["ece"], ece)
    same("area under risk-coverage", figures["aurc"], aurc)
    filled = [(a, b) for a, b in zip(edges, edges[1:]) if b > a]
    for bin, (a, b) in zip(report["bins"], filled, strict=True):
        for part, value in [
            ("rows", b - a),
            ("confidence", ordered[a:b].mean()),
            ("accuracy", shares[a:b].mean()),
            ("coverage", 1 - a / len(rows)),
            ("risk", risks[a]),
        ]:
            same(f"bin from {a} {part}", bin[part], value)
    # The reference itself, on untied rows whose number is a multiple of the bins.
    n = 100 * BINS
    untied = rng.permutation(numpy.linspace(0.05, 0.999, n))
    hits = rng.random(n) < untied**2
    same("netcal", ranked(untied, hits)[0], float(ECE(bins=BINS, equal_intervals=False).measure(untied, hits.astype(int))))

# Slices.
counts = collections.Counter()
hits = collections.Counter()


def band(value, ends, words):
    return words[sum(float(value) >= end for end in ends)]


AMOUNTS = ([10, 100, 1000], ["under 10", "10 to 100", "100 to 1,000", "1,000 and more"])
AGES = ([30, 90, 365], ["under 30 days", "30 to 90 days", "90 days to a year", "a year and more"])
parents = {}
if arguments.taxonomy:
    with open(arguments.taxonomy, "rb") as file:
        parents = {of["slug"]: of["parent"] for of in tomllib.load(file)["category"] if "parent" in of}
for row, is_right in zip(rows, right):
    slices = {
        "key": "known" if row["known_key"] == "true" else "unknown",
        "merchant": {"true": "head", "false": "tail"}.get(row["head_merchant"]),
        "direction": row["direction"],
        "amount": row["amount"] and band(row["amount"], *AMOUNTS),
        "country": row["country"],
        "month": row["posted_at"][:7],
        "account_age": row["account_age_days"] and band(row["account_age_days"], *AGES),
        "primary": parents and parents.get(row["expected"], row["expected"]),
    }
    for slice in slices.items():
        if slice[1]:
            counts[slice] += 1
            hits[slice] += bool(is_right)
shown = {(of["slice"], of["value"]): of["accuracy"] for of in report["slices"]}
if not parents:
    shown = {slice: of for slice, of in shown.items() if slice[0] != "primary"}
assert shown.keys() == counts.keys(), f"slices differ: {shown.keys() ^ counts.keys()}"
for slice, of in shown.items():
    same_share(f"slice {slice}", of, hits[slice], counts[slice])
if parents:
    primary = [parents.get(a, a) == parents.get(b, b) for a, b in zip(gold, said)]
    same_share("primary", figures["primary"], sum(primary), len(rows))

# Intervals by merchant.
same_interval(
    "accuracy by merchant",
    figures["accuracy_by_merchant"],
    lambda weights: numpy.average(right, weights=weights),
)
numbers = {name: number for number, name in enumerate(names)}
cells = numpy.array([numbers[a] * len(names) + numbers[b] for a, b in zip(gold, said)])


def f1(weights):
    table = numpy.bincount(cells, weights=weights, minlength=len(names) ** 2).reshape(len(names), -1)
    support, both = table.sum(1), table.sum(1) + table.sum(0)
    scores = numpy.divide(2 * table.diagonal(), both, out=numpy.zeros(len(names)), where=both > 0)
    return scores[both > 0].mean(), (support * scores).sum() / support.sum()


same("macro F1", figures["macro_f1"], f1(numpy.ones(len(rows)))[0])
same_interval("macro F1 by merchant", figures["f1_by_merchant"]["macro_f1"], lambda weights: f1(weights)[0])
same_interval("weighted F1 by merchant", figures["f1_by_merchant"]["weighted_f1"], lambda weights: f1(weights)[1])

# Two runs.
if arguments.against:
    theirs = {row["id"]: row for row in rows_of(arguments.against[0])}
    pair = json.load(open(arguments.against[1], encoding="utf-8"))[0]
    assert pair["ours"]["id"] == report["run"]["id"], "compare names the earlier run first: txcat eval compare THEIRS OURS"
    ids = numpy.array([row["id"] for row in rows])
    other = numpy.array([theirs[id]["expected"] == theirs[id]["predicted"] for id in ids])

    def test(kept):
        ours, others = right[kept], other[kept]
        table = [[(ours & others).sum(), (ours & ~others).sum()], [(~ours & others).sum(), (~ours & ~others).sum()]]
        return table, float(mcnemar(table, exact=True).pvalue)

    table, p = test(numpy.ones(len(rows), dtype=bool))
    everything = pair["all"]
    same("McNemar", everything["p"], p)
    changed = int(table[0][1] + table[1][0])
    same("McNemar by scipy", everything["p"], binomtest(int(table[0][1]), changed).pvalue if changed else 1)
    for part, value in [("both", table[0][0]), ("only_ours", table[0][1]), ("only_theirs", table[1][0])]:
        same(part, everything[part], int(value))
    same("difference", everything["difference"], right.mean() - other.mean())
    gains = right.astype(float) - other
    same_interval(
        "difference by merchant",
        everything["by_merchant"],
        lambda weights: numpy.average(gains, weights=weights),
    )
    by_class = {of["category"]: of for of in pair["classes"]}
    assert by_class.keys() == set(gold), "categories of the comparison differ"
    ps = {name: test(gold == name)[1] for name in by_class}
    corrected = dict(zip(ps, multipletests(list(ps.values()), method="holm")[1]))
    for name, of in by_class.items():
        same(f"{name} McNemar", of["p"], ps[name])
        same(f"{name} Holm", of["p_holm"], corrected[name])
    for row in pair["differing"]:
        place = int(numpy.flatnonzero(ids == row["id"])[0])
        same(f"{row['id']} differs", int(right[place] != other[place]), 1)

print(json.dumps({"rows": len(rows), "figures_compared": compared, "differ": failed[:20]}, indent=1))
sys.exit(bool(failed))
