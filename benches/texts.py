"""Texts of transactions as the benchmarks beside other programs read them: one a line, rows drawn from a file with a seed.

    python benches/texts.py --rows-of dev.csv.gz --count 512 [--form enriched --ledger ledger.csv] > texts.txt

The file has the columns account_id, descriptor, amount, currency, direction, category and, for --ledger, ledger. A text is the descriptor
as it stands (raw); or in small letters and with what was paid (paid); or with the words of the row's ledger code and of two categories
that the account had before, too, so that it has about as many tokens as an enriched row's (enriched).
"""

import argparse
import csv
import gzip
import random
import sys

import machine

FORMS = ["raw", "paid", "enriched"]


def two_digits(amount):
    """1500 for 1,487.20, as texts for the encoder say amounts."""
    return f"{float(f'{float(amount):.2g}'):g}"


def descriptions(path):
    """What ledger codes stand for: the columns code and description."""
    return {row["code"]: row["description"].lower() for row in rows(path, ["code", "description"])}


def rows(path, columns):
    """A CSV file's rows, plain or in gzip; it must have these columns."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        read = csv.DictReader(file)
        missing = [column for column in columns if column not in (read.fieldnames or [])]
        if missing:
            sys.exit(f"{path} has no column {', '.join(missing)}")
        return list(read)


def drawn(path, count, seed, form, ledger=None):
    """Texts and categories of rows drawn from a file, in an order drawn too."""
    words_of = descriptions(ledger) if ledger else {}
    pool = rows(path, ["descriptor", "category"] + ([] if form == "raw" else ["amount", "currency"]))
    places = set(random.Random(seed).sample(range(len(pool)), min(count, len(pool))))
    before, made = {}, []
    for place, row in enumerate(pool):
        of_account = before.setdefault(row.get("account_id"), [])
        if place in places:
            made.append((text_of(row, form, words_of, of_account[:2]), row["category"]))
        if row["category"] not in of_account:
            of_account.append(row["category"])
    random.Random(seed).shuffle(made)
    return made


def text_of(row, form, words_of, usual):
    if form == "raw":
        return row["descriptor"]
    verb = "received" if row.get("direction") == "credit" else "paid"
    text = f"{row['descriptor'].lower()}, {verb} {two_digits(row['amount'])} {row['currency'].lower()}"
    if form == "enriched":
        words = words_of.get(row.get("ledger"))
        text += f"; {words}" if words else ""
        text += f"; account: {', '.join(category.replace('_', ' ') for category in usual)}" if usual else ""
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows-of", required=True, metavar="FILE", type=machine.there, help="a CSV file, plain or in gzip")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--form", default="raw", choices=FORMS)
    parser.add_argument("--ledger", type=machine.there, help="descriptions of ledger codes, for enriched texts")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.form == "enriched" and not arguments.ledger:
        parser.error("enriched texts have words of a ledger: --ledger")
    if arguments.count < 1:
        parser.error("--count must be 1 at least")
    for text, _ in drawn(arguments.rows_of, arguments.count, arguments.seed, arguments.form, arguments.ledger):
        print(text)
