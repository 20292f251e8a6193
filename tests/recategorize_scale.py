"""How fast, how big and how linear is a recategorization? Measures the program as it is used, from import to undo.

    cargo build --release && python tests/recategorize_scale.py --sizes 100000,1000000

For each size makes so many transactions of the demo's people (in the order of time, as repetitive as they live), stores them,
categorizes them with `few_shot`, previews `adapter` over everything, applies, undoes, and previews once more with what is
remembered. Each size has a database of its own, in a private Postgres that forgets nothing. Prints rows a second, the most
memory that a command held, the share of distinct inputs, the time that 3 million rows would take beside the price of a hosted
prompt, and the exponent of growth: the slope of a line through the logarithms of rows and seconds, by least squares. Fails where
undo does not give back every byte.
"""

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time

PROJECTED = 3_000_000
DUMP = "copy (select * from {0} order by 1) to stdout"
TABLES = ["in_force", "review_items", "corrections_made", "account_rules"]

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
sizes = lambda words: sorted({int(word) for word in words.split(",")})
arguments.add_argument("--sizes", type=sizes, default=[10_000, 30_000, 100_000], help="numbers of rows [default: 10000,30000,100000]")
arguments.add_argument("--txcat", default="target/release/txcat", help="the program")
arguments.add_argument("--first", default="few_shot", help="the stage that categorizes first")
arguments.add_argument("--then", default="adapter", help="the stage that is previewed")
arguments.add_argument("--prompt-price", type=float, default=1.40, help="assumed price of 1,000 rows through a hosted prompt, in USD")
arguments.add_argument("--folder", help="where databases and files go [default: a temporary folder]")
arguments = arguments.parse_args()

NUMBER = re.compile(r": (\d+) rows in ([0-9.]+) s")


class Command:
    """A command's output, seconds and most memory (MiB)."""

    def __init__(self, environment, *words):
        begun = time.monotonic()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = subprocess.Popen([arguments.txcat, *words], stdout=out, stderr=err, env=environment)
            _, status, usage = os.wait4(child.pid, 0)
            self.wall = time.monotonic() - begun
            out.seek(0), err.seek(0)
            self.out, self.err = out.read(), err.read()
        self.peak = usage.ru_maxrss / 1024
        if status != 0:
            sys.exit(f"txcat {' '.join(words)} failed:\n{self.err}")

    def work(self):
        """Rows and seconds of the work itself, without the start of the program."""
        found = NUMBER.search(self.err)
        return int(found[1]), float(found[2])


def dump(url):
    digest = hashlib.sha256()
    for table in TABLES:
        command = ["psql", url, "-qAtX", "-c", DUMP.format(table)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            for block in iter(lambda: child.stdout.read(1 << 20), b""):
                digest.update(block)
        if child.returncode != 0:
            sys.exit(f"{table} can't be read")
    return digest.hexdigest()


def measure(rows, folder):
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment["TXCAT_DATA_DIR"] = os.path.join(folder, "data")
    Command(environment, "demo-data", "--transactions", str(rows), "--out", folder)
    file = os.path.join(folder, "transactions.csv.gz")
    held = subprocess.Popen(
        [arguments.txcat, "database"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    url = held.stdout.readline().strip()

    def run(*words):
        done = Command(environment, *words)
        print(f"{rows:,} rows: {' '.join(words[:2])} ended after {done.wall:,.0f} s, {done.peak:.0f} MiB", file=sys.stderr)
        return done

    try:
        stored = run("import", file, "--no-categorize", "--json")
        said = run("import", file, "--stage", arguments.first, "--json")
        rate = lambda command: rows / json.loads(command.out)["rows_per_s"]
        before = dump(url)
        preview = ["recategorize", "preview", "--everything", "--reason", "measured", "--stage", arguments.then, "--json"]
        first = run(*preview)
        report = json.loads(first.out)
        applied = run("recategorize", "apply", str(report["id"]), "--override", "measured", "--json")
        undone = run("recategorize", "undo", str(report["id"]), "--json")
        same = dump(url) == before
        again = run(*preview)
        answers = json.loads(again.out)["answers"]
    finally:
        held.stdin.close()
        held.wait()
    if not same:
        sys.exit(f"{rows} rows: undo does not give back every byte")
    phases = {
        "import": (rows, rate(stored), stored.peak),
        f"categorize ({arguments.first})": (rows, rate(said), said.peak),
        f"preview ({arguments.then})": (*first.work(), first.peak),
        "apply": (*applied.work(), applied.peak),
        "undo": (*undone.work(), undone.peak),
        "preview, remembered": (*again.work(), again.peak),
    }
    print(f"\n{rows:,} rows; {report['diff']['changed']:,} change; undo gave back every byte")
    for phase, (done, seconds, peak) in phases.items():
        print(f"  {phase:24} {done:>9,} rows {seconds:8.1f} s {done / max(seconds, 1e-9):8,.0f} rows/s {peak:6.0f} MiB")
    of = report["answers"]
    print(f"  distinct inputs: {100 * of['distinct_share']:.1f} % of rows ({of['computed']:,} computed)")
    print(f"  remembered: {answers['computed']:,} computed, {answers['from_store']:,} from Postgres, {answers['from_memory']:,} from memory")
    sys.stdout.flush()
    return phases


def slope(points):
    """Of a line through the logarithms, by least squares."""
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs))
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread


found = []
with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
    os.chmod(folder, 0o755)
    for size in arguments.sizes:
        inside = os.path.join(folder, str(size))
        os.mkdir(inside)
        found.append((size, measure(size, inside)))

largest, phases = found[-1]
print(f"\n{os.cpu_count()} cores; {PROJECTED:,} rows, as {largest:,} took:")
for phase, (done, seconds, _) in phases.items():
    growth = f"grows as rows^{slope([(of[phase][0], of[phase][1]) for _, of in found]):.2f}" if len(found) > 1 else ""
    hours = seconds * PROJECTED / largest / 3600
    print(f"  {phase:24} {hours:6.2f} h  {growth}")
price = arguments.prompt_price * PROJECTED / 1000
print(f"  the same through a hosted prompt, at ${arguments.prompt_price:.2f} per 1,000 (assumed): ${price:,.0f}")
peaks = [max(peak for _, _, peak in of.values()) for _, of in found]
print(f"  peak memory by size (MiB): {', '.join(f'{size:,}: {peak:.0f}' for (size, _), peak in zip(found, peaks))}")
