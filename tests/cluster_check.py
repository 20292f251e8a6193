"""Does a cluster answer as one process does, and how fast is each? Measures the program as it is used, on Parquet files.

    pip install pyarrow && cargo build --release --features cluster && python tests/cluster_check.py --rows 100000

Makes so many transactions of the demo's people, as Parquet files; one has half of the rows and a column that nobody reads, so
that it is big enough to be taken apart (from some 80,000 rows on). `txcat recategorize --from --to` answers them in one process, then with a scheduler and executors, each a
process on this machine. Prints rows a second, without the start of the program, and the most memory that a process held; fails
where a row's answer differs in anything. All share this machine's cores: what more machines bring is not to be seen here.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import pyarrow
import pyarrow.csv
import pyarrow.parquet

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--rows", type=int, default=100_000, help="how many")
arguments.add_argument("--files", type=int, default=8, help="files, the first with half of the rows")
arguments.add_argument("--executors", type=int, default=2, help="executors of the cluster")
arguments.add_argument("--txcat", default="target/release/txcat", help="the program, with the feature `cluster`")
arguments = arguments.parse_args()

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TXCAT_")}
SEEDED = random.Random(20261126)
MEASURED = re.compile(r"answered: (\d+) rows in ([0-9.]+) s")


def parquet(folder):
    """The rows as files; gives the folder, and the share of rows whose text, amount, direction and currency came before."""
    subprocess.run([arguments.txcat, "demo-data", "--transactions", str(arguments.rows), "--out", folder], check=True,
                   stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    texts = pyarrow.csv.ConvertOptions(column_types={"amount": pyarrow.string(), "posted_at": pyarrow.string()})
    table = pyarrow.csv.read_csv(os.path.join(folder, "transactions.csv.gz"), convert_options=texts)
    rows = os.path.join(folder, "rows")
    os.mkdir(rows)
    cuts = [0, len(table) // 2]
    cuts += [cuts[1] + (len(table) - cuts[1]) * part // (arguments.files - 1) for part in range(1, arguments.files)]
    for number, (begin, end) in enumerate(zip(cuts, cuts[1:])):
        part = table.slice(begin, end - begin)
        if number == 0:
            part = part.append_column("scan", [pyarrow.array(SEEDED.randbytes(256) for _ in range(len(part)))])
        pyarrow.parquet.write_table(part, os.path.join(rows, f"part-{number}.parquet"), row_group_size=5_000)
    same = table.group_by(["descriptor", "amount", "direction", "currency"]).aggregate([])
    return rows, len(same) / len(table)


def recategorize(*words):
    """Counts, rows a second, and the most memory (MiB)."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        command = [arguments.txcat, "recategorize", "--json", *words]
        child = subprocess.Popen(command, stdout=out, stderr=err, env=ENVIRONMENT)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0), err.seek(0)
        said = err.read()
        if status != 0:
            sys.exit(f"txcat recategorize {' '.join(words)} failed:\n{said}")
        rows, seconds = MEASURED.search(said).groups()
        return json.load(out), int(rows) / float(seconds), usage.ru_maxrss / 1024


class Cluster:
    """A scheduler and its executors, which have signed on."""

    def __init__(self):
        self.scheduler, line = self.start("scheduler", "--listen", "127.0.0.1:0", "--executors", str(arguments.executors))
        self.address = line.removeprefix("scheduler on ")
        tasks = max(1, os.cpu_count() // arguments.executors)
        executor = ("executor", "--scheduler", self.address, "--tasks", str(tasks))
        self.executors = [self.start(*executor)[0] for _ in range(arguments.executors)]
        ready = self.address.replace("df://", "http://") + "/readyz"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(600):
            try:
                opener.open(ready)
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("the executors did not sign on within a minute")

    @staticmethod
    def start(*words):
        command = [arguments.txcat, "cluster", *words]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
        return child, child.stdout.readline().strip()

    def end(self):
        """Each executor's rows and most memory (MiB)."""
        found = []
        for executor in self.executors:
            executor.terminate()
            said = executor.stdout.read()
            _, _, usage = os.wait4(executor.pid, 0)
            found.append((int(re.search(r"answered (\d+) rows", said)[1]), usage.ru_maxrss / 1024))
        self.scheduler.kill()
        self.scheduler.wait()
        return found


def answers(folder):
    """Every file's answers, in the order of ids: several tasks write a file's rows as they are done."""
    files = sorted(os.listdir(folder))
    return {file: pyarrow.parquet.read_table(os.path.join(folder, file)).sort_by("id") for file in files}


with tempfile.TemporaryDirectory() as folder:
    rows, distinct = parquet(folder)
    alone, together = os.path.join(folder, "alone"), os.path.join(folder, "together")
    one = recategorize("--from", rows, "--to", alone)
    cluster = Cluster()
    try:
        many = recategorize("--from", rows, "--to", together, "--scheduler", cluster.address)
    finally:
        parts = cluster.end()
    if one[0] != many[0] or one[0]["rows"] != arguments.rows:
        sys.exit(f"the counts differ: {one[0]} and {many[0]}")
    first, second = answers(alone), answers(together)
    differing = [file for file in first if not first[file].equals(second.get(file))]
    if differing or first.keys() != second.keys():
        sys.exit(f"answers differ: {differing or sorted(first.keys() ^ second.keys())}")

print(f"{arguments.rows:,} rows in {one[0]['files']} files, {100 * distinct:.1f} % of them distinct; {os.cpu_count()} cores")
print(f"  one process      {one[1]:8,.0f} rows/s  {one[2]:6.0f} MiB")
print(f"  {arguments.executors} executors      {many[1]:8,.0f} rows/s  {many[2]:6.0f} MiB where it was asked for, then each:")
for answered, peak in parts:
    print(f"    answered {answered:>9,} rows  {peak:6.0f} MiB")
print(f"  every answer is the same: {one[0]['answered']:,} categories, {one[0]['refused']:,} refused")
