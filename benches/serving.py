"""How many transactions a second does a server take, and how long does a request wait, beside what its engine does alone?

    cargo build --release
    python benches/serving.py [--probe cpu_probe.c] [--flame eval/reports/serving.svg]

Starts `txcat serve` on a private Postgres that forgets nothing, with one adapter in int8. Clients post requests of 100 rows, each
row another text (a descriptor of the demo's and a word that never came before), so that nothing is remembered; each row is of an account
of its own unless --accounts says otherwise, so that the adapter reads just what `txcat bench --bodies` reads of the same bodies.
Each round measures the engine alone and the server at full load (closed loop), in turns first. Then requests come at half of
what the rounds' median was (open loop: latency counts from when a request was due). Prints rows a second, their share of the
engine's own, p50 and p99, and the probe; fails where a request does. With --flame one more full load is recorded by `perf`, all
processes together, and drawn (benches/flame.py). Everything is bounded by --seconds and --rounds.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import flame
import machine
import texts

START_WITHIN, ANSWER_WITHIN = 180, 60

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--txcat", default="target/release/txcat", type=machine.there, help="the program")
arguments.add_argument("--adapter", default="models/adapters/demo", type=machine.there)
arguments.add_argument("--precision", default="int8")
arguments.add_argument("--encoder-dir", type=machine.there, help="the base encoder's folder [default: the models folder's]")
arguments.add_argument("--pool", default="eval/datasets/demo/pool.csv.gz", type=machine.there, help="descriptor, amount, currency, direction")
arguments.add_argument("--rows", type=int, default=100, help="rows of a request")
arguments.add_argument("--accounts", type=int, default=0, help="accounts that rows are spread over; 0 gives each row its own")
arguments.add_argument("--clients", type=int, default=4, help="requests at a time at full load")
arguments.add_argument("--seconds", type=float, default=15, help="of each load")
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--engine-rows", type=int, default=6_000, help="rows of the engine alone, each time")
arguments.add_argument("--flame", help="where to draw where the time goes")
machine.add_arguments(arguments)
arguments = arguments.parse_args()


class Bodies:
    """Requests of rows that never came before."""

    def __init__(self):
        pool = texts.rows(arguments.pool, ["descriptor", "amount", "currency", "direction"])
        self.pool = list({row["descriptor"]: row for row in pool}.values())
        self.made = 0

    def next(self):
        rows = []
        for n in range(self.made, self.made + arguments.rows):
            row = self.pool[n % len(self.pool)]
            # In letters: digits of a descriptor are not read.
            word = "".join(chr(65 + int(digit)) for digit in str(n))
            rows.append(
                {
                    "id": f"load-{n}",
                    "account_id": f"acc-{n % arguments.accounts if arguments.accounts else n}",
                    "posted_at": "2026-03-14",
                    "amount": row["amount"],
                    "currency": row["currency"],
                    "direction": row["direction"],
                    "descriptor": f"{row['descriptor']} {word}",
                }
            )
        self.made += arguments.rows
        return json.dumps({"transactions": rows}).encode()


class Server:
    """`txcat serve`, ended with Ctrl-C."""

    def __init__(self, folder):
        command = [arguments.txcat, "serve", "--bind", "127.0.0.1:0", "--stage", "adapter", "--adapter", arguments.adapter]
        command += ["--precision", arguments.precision, "--workers", "0", "--data-dir", folder, *encoder()]
        # A database of the environment's would not be this bench's own.
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.said, self.address = [], None
        ready = threading.Event()
        threading.Thread(target=self.listen, args=[ready], daemon=True).start()
        if not ready.wait(START_WITHIN) or self.address is None:
            self.end()
            sys.exit(f"the server did not start:\n{''.join(self.said[-20:])}")

    def listen(self, ready):
        for line in self.child.stderr:
            self.said = [*self.said[-99:], line]
            if self.address is None and "http://" in line:
                host, port = line.split("http://")[1].split("/")[0].split(":")
                self.address = (host, int(port))
                ready.set()
        ready.set()

    def end(self):
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()


def encoder():
    return ["--encoder-dir", arguments.encoder_dir] if arguments.encoder_dir else []


class Client:
    """One connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(*address, timeout=ANSWER_WITHIN)

    def post(self, body):
        self.connection.request("POST", "/v1/transactions", body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {text[:500]!r}")
        # Looking at every answer would take the server's time; a refused row has a problem.
        if b'"problem"' in text or text.count(b'"predicted"') != arguments.rows:
            raise RuntimeError(f"not every row was answered: {text[:500]!r}")


def full_load(address, bodies, seconds):
    """Rows a second while all clients are at work, and the latencies."""
    ready = queue.SimpleQueue()
    stop = threading.Event()

    def feed():
        while not stop.is_set():
            if ready.qsize() < 4 * arguments.clients:
                ready.put(bodies.next())
            else:
                stop.wait(0.005)

    def work():
        client, took = Client(address), []
        while time.monotonic() < ends:
            body = ready.get()
            begun = time.monotonic()
            client.post(body)
            took.append((time.monotonic(), time.monotonic() - begun))
        return took

    feeder = threading.Thread(target=feed)
    feeder.start()
    begun = time.monotonic()
    ends = begun + seconds
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.clients) as pool:
            answered = sorted(sum((of.result() for of in [pool.submit(work) for _ in range(arguments.clients)]), []))
    finally:
        stop.set()
        feeder.join()
    # The last answers come while other clients have stopped.
    within = [took for at, took in answered if at <= ends]
    return len(within) * arguments.rows / seconds, within


def half_load(address, bodies, rate, seconds):
    """Latencies from when requests were due, and rows a second that were asked for."""
    every = arguments.rows / rate
    due = [n * every for n in range(max(1, int(seconds / every)))]
    made = [bodies.next() for _ in due]
    clients = queue.SimpleQueue()
    most = 32
    for _ in range(most):
        clients.put(Client(address))
    begun = time.monotonic()

    def send(at, body):
        client = clients.get()
        try:
            client.post(body)
        finally:
            clients.put(client)
        return time.monotonic() - begun - at

    with concurrent.futures.ThreadPoolExecutor(most) as pool:
        sent = []
        for at, body in zip(due, made):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            sent.append(pool.submit(send, at, body))
        return [of.result() for of in sent]


def engine(path):
    """Rows a second of the adapter alone, from descriptor to category."""
    command = [arguments.txcat, "bench", "--texts", path, "--bodies", "--adapter", arguments.adapter, "--batch", str(arguments.rows)]
    command += ["--rows", str(arguments.engine_rows), "--precision", arguments.precision, *encoder()]
    return arguments.engine_rows / float(machine.last_line(command, os.environ, 120))


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1e3


def main():
    # Whoever ends this early ends the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    probe = machine.Probe(arguments.probe, arguments.quiet)
    bodies = Bodies()
    # Outside the run's own folder, because the private Postgres is another user.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "bodies.jsonl")
        engine_bodies = Bodies()
        with open(path, "wb") as file:
            for _ in range(-(-arguments.engine_rows // arguments.rows)):
                file.write(engine_bodies.next() + b"\n")
        server = Server(os.path.join(folder, "data"))
        try:
            full_load(server.address, bodies, min(3.0, arguments.seconds))
            rounds = []
            for at in range(arguments.rounds):
                seen = [probe.ask()]
                alone = engine(path) if at % 2 == 0 else None
                served, took = full_load(server.address, bodies, arguments.seconds)
                seen.append(probe.ask())
                alone = alone or engine(path)
                rounds.append((alone, served, took))
                print(
                    f"round {at + 1}: engine alone {alone:.0f} rows/s; served {served:.0f} transactions/s ({served / alone:.2f}), "
                    f"p50 {quantile(took, 0.5):.1f} ms, p99 {quantile(took, 0.99):.1f} ms a request; probe {seen}",
                    flush=True,
                )
            rate = statistics.median(served for _, served, _ in rounds) / 2
            before = probe.ask()
            waited = half_load(server.address, bodies, rate, arguments.seconds)
            if arguments.flame:
                recorded = flame.Recording(folder)
                full_load(server.address, bodies, min(10.0, arguments.seconds))
                title = f"txcat serve at full load: requests of {arguments.rows} rows, {arguments.precision}, every process of the machine"
                shares = recorded.draw(arguments.flame, title)
        finally:
            server.end()
    print(
        f"\n{arguments.clients} clients, requests of {arguments.rows} rows, {arguments.precision}, recorded in Postgres; "
        f"{bodies.made} rows of {arguments.accounts or 'as many'} accounts; {arguments.rounds} rounds of {arguments.seconds:.0f} s"
    )
    print(f"engine alone: {machine.spread([alone for alone, _, _ in rounds], 0)} rows/s")
    print(f"full load: {machine.spread([served for _, served, _ in rounds], 0)} transactions/s")
    print(f"share of the engine's: {machine.spread([served / alone for alone, served, _ in rounds], 2)} (wanted: 0.60 at least)")
    print(
        f"half load ({rate:.0f} transactions/s, {len(waited)} requests): p50 {quantile(waited, 0.5):.1f} ms, "
        f"p99 {quantile(waited, 0.99):.1f} ms a request from when it was due; probe before {before}"
    )
    if arguments.flame:
        print(f"where the processors' time goes ({arguments.flame}):")
        for name, share in shares:
            print(f"  {share:6.1%}  {name}")
    print(probe.summary())
    probe.close()


main()
