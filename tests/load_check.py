"""Is anything lost under load while things around the service break? Measures the program as it is used.

    cargo build --release && python tests/load_check.py                       # ten minutes
    python tests/load_check.py --seconds 60 --txcat target/debug/txcat

Starts a Postgres of its own, a chat model by script and `txcat serve --stage few_shot` before them, all on loopback. First it
measures how many calls a second the service answers when it is asked as fast as it can (the capacity), then it sends mixed
traffic at a share of that: new rows, rows that were sent before, corrections, decisions at the desk, looks, and a
recategorization now and then. Meanwhile the server is killed with -9 and started again, Postgres is stopped and started, and the
model's endpoint is dead for a while. In the end every call that was refused or cut off is sent again.

Exits with 1 unless: each request was answered, refused, or cut off by a kill; none was answered with 500, and none was refused or
cut off far from a fault; the rows stored are exactly the rows accepted, each categorized; each correction and decision that was
answered is stored; the recategorizations end; the audit log's chain is whole; the server that lives from the kill to the
end holds no more memory at its end than --growth allows. Needs Python alone, a Postgres server's programs, and the encoder.
"""

import argparse
import collections
import http.client
import http.server
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--seconds", type=float, default=600, help="how long the traffic lasts")
arguments.add_argument("--share", type=float, default=0.8, help="share of the capacity")
arguments.add_argument("--capacity-seconds", type=float, default=15, help="how long the capacity is measured")
arguments.add_argument("--callers", type=int, default=8, help="calls under way at a time, at most")
arguments.add_argument("--rows", type=int, default=5, help="rows of one call")
arguments.add_argument("--most-rows", type=int, default=2_000_000, help="rows in all, at most")
arguments.add_argument("--down", type=float, default=3.0, help="seconds that the model is dead and Postgres is down")
arguments.add_argument("--growth", type=float, default=0.25, help="share by which memory may grow over the steady phases")
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--txcat", default="target/release/txcat", help="the program")
arguments = arguments.parse_args()

CATEGORIES = ["restaurant", "supermarket", "coffee_shop", "fuel"]
# Longer than the service's own limit for one request: what takes longer is lost.
PATIENCE = 150


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Postgres:
    def __init__(self, folder):
        debian = "/usr/lib/postgresql"
        homes = [f"{debian}/{home}/bin" for home in sorted(os.listdir(debian), key=float)] if os.path.isdir(debian) else []
        found = shutil.which("initdb")
        self.programs = homes[-1] if homes else os.path.dirname(os.path.realpath(found or sys.exit("no Postgres server is installed")))
        self.folder, self.port = os.path.join(folder, "postgres"), free_port()
        # Postgres does not run as root.
        self.user = {}
        if os.geteuid() == 0:
            who = pwd.getpwnam("postgres")
            self.user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        os.mkdir(self.folder)
        if self.user:
            os.chown(self.folder, self.user["user"], self.user["group"])
        self.call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-D", self.data)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self.folder}'\n")
        self.start()

    @property
    def data(self):
        return os.path.join(self.folder, "data")

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/txcat"

    def call(self, program, *words):
        command = [os.path.join(self.programs, program), *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **self.user)
        if done.returncode != 0:
            sys.exit(f"{program} failed:\n{done.stderr}")
        return done.stdout

    def start(self):
        log = os.path.join(self.folder, "log")
        command = [os.path.join(self.programs, "pg_ctl"), "start", "-w", "-D", self.data, "-l", log]
        # The server would keep a pipe of ours open.
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.user)

    def stop(self, mode="fast"):
        self.call("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data)

    def lines(self, query):
        return self.call("psql", self.url, "-qAtX", "-c", query).split("\n")[:-1]


class Model:
    """A server of chat completions that takes every transaction for one of two categories, by its id."""

    def __init__(self):
        self.port, self.server, self.answered = free_port(), None, 0

    def start(self):
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                text = asked["messages"][-1]["content"]
                rows = json.loads(re.search(r"<transactions>\s*(.*?)\s*</transactions>", text, re.S)[1])
                say = lambda row: {"id": row["id"], "category": CATEGORIES[len(json.dumps(row)) % 2]}
                said = json.dumps({"answers": [say(row) for row in rows]})
                choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
                usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
                body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [choice], "usage": usage}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                model.answered += 1

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128
            open_sockets = set()

            def process_request(self, request, address):
                self.open_sockets.add(request)
                super().process_request(request, address)

            def shutdown_request(self, request):
                self.open_sockets.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        # Connections that are kept open must not answer either.
        for one in list(self.server.open_sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Service:
    def __init__(self, folder, postgres, model):
        self.port = free_port()
        self.log = open(os.path.join(folder, "serve.log"), "ab")
        chat = os.path.join(folder, "chat.toml")
        with open(chat, "w") as out:
            out.write(
                f'[[model]]\nname = "scripted"\nprovider = "openai"\nbase_url = "http://127.0.0.1:{model.port}/v1"\n'
                'model = "scripted"\nrows_per_request = 10\nconcurrency = 16\ntimeout_s = 10.0\nretries = 1\n'
                "backoff_s = 0.1\nrest_s = 1.0\nsend_personal_data = true\n"
                '[[model.price]]\nfrom = "2020-01-01"\nprompt = "0"\ncompletion = "0"\nsource = "by script"\n'
            )
        self.environment = {**os.environ, "DATABASE_URL": postgres.url}
        self.words = ["serve", "--bind", f"127.0.0.1:{self.port}", "--stage", "few_shot", "--audit-share", "0.02",
                      "--chat-models", chat, "--chat-model", "scripted", "--requests-per-minute", "0"]
        self.key = self.run("keys", "create", "--name", "load", "--scope", "ingest,read,review,batch,admin").strip()
        self.start()

    def run(self, *words):
        done = subprocess.run([arguments.txcat, *words], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"txcat {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        self.process = subprocess.Popen([arguments.txcat, *self.words], env=self.environment, stdout=self.log, stderr=self.log)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the server ended with {self.process.returncode}: see {self.log.name}")
            try:
                if self.call(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10), "GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait()

    def memory(self):
        """MiB that it holds."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def call(self, connection, method, path, body=None):
        headers = {"authorization": f"Bearer {self.key}"} if hasattr(self, "key") else {}
        if body is not None:
            headers["content-type"] = "application/json"
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        return answer.status, json.loads(said) if said else None


class Traffic:
    """What was sent, and what became of it."""

    def __init__(self, service):
        self.service, self.lock = service, threading.Lock()
        self.random = random.Random(arguments.seed)
        self.sent = self.answered = self.refused = self.cut = 0
        self.strange = []
        self.statuses, self.refusals = collections.Counter(), collections.Counter()
        self.next_row = 0
        self.accepted, self.unsure = {}, {}
        self.accepted_ids = []
        self.corrected, self.decided = set(), set()
        self.runs, self.took = [], []
        # From when to when something is broken; refusals are natural there.
        self.faults = []

    def fault(self):
        self.faults.append([time.monotonic(), None])

    def mended(self):
        self.faults[-1][1] = time.monotonic()

    def near_a_fault(self, begun, ended):
        return any(ended >= start and (end is None or begun <= end) for start, end in self.faults)

    def new_rows(self):
        rows = []
        for _ in range(arguments.rows):
            number = self.next_row
            self.next_row += 1
            rows.append({
                "id": f"load-{number}", "account_id": f"account-{number % 997}", "posted_at": f"2026-03-{number % 28 + 1:02}",
                "amount": f"{number % 90 + 1}.50", "currency": "EUR", "direction": "debit",
                "descriptor": f"SHOP {chr(65 + number % 26)}{chr(65 + number // 26 % 26)} {number % 13} BERLIN",
            })
        return rows

    def request(self, connection, method, path, body=None):
        """Sends one request; the status and body, or None where it was cut off."""
        begun = time.monotonic()
        with self.lock:
            self.sent += 1
        try:
            status, said = self.service.call(connection, method, path, body)
        except TimeoutError:
            connection.close()
            with self.lock:
                self.strange.append(f"{method} {path}: no answer in {PATIENCE} s")
            return None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with self.lock:
                self.cut += 1
                if not self.near_a_fault(begun, time.monotonic()):
                    self.strange.append(f"{method} {path}: cut off far from a fault: {error!r}")
            return None
        ended = time.monotonic()
        with self.lock:
            self.statuses[status] += 1
            self.took.append(ended - begun)
            if status < 300:
                self.answered += 1
            else:
                self.refused += 1
                self.refusals[(status, said.get("type"))] += 1
                # A decision may find that another caller was faster.
                if status != 409 and not (status in (429, 503) and self.near_a_fault(begun, ended)):
                    self.strange.append(f"{method} {path}: {status} {said}")
        return status, said

    def ingest(self, connection, rows):
        with self.lock:
            for row in rows:
                self.unsure.setdefault(row["id"], row)
        got = self.request(connection, "POST", "/v1/transactions", {"transactions": rows})
        if got is None or got[0] != 200:
            return
        results = got[1]["results"]
        with self.lock:
            if [result.get("id") for result in results] != [row["id"] for row in rows]:
                self.strange.append("an answer is not of the rows that were asked about")
            for row, result in zip(rows, results):
                if result["status"] == "ok" and result["category"] is not None:
                    if row["id"] not in self.accepted:
                        self.accepted[row["id"]] = row
                        self.accepted_ids.append(row["id"])
                    self.unsure.pop(row["id"], None)
                else:
                    self.strange.append(f"a row was not taken: {result}")

    def one(self, connection):
        with self.lock:
            draw, category = self.random.random(), self.random.choice(CATEGORIES)
            known = self.random.choice(self.accepted_ids) if self.accepted_ids else None
            full = self.next_row >= arguments.most_rows
            rows = [] if known and (full or draw >= 0.75) else self.new_rows()
        if rows:
            self.ingest(connection, rows)
        elif draw < 0.80 or full:
            self.ingest(connection, [self.accepted[known]])
        elif draw < 0.90:
            correction = {"category": category, "scope": "transaction"}
            got = self.request(connection, "POST", f"/v1/transactions/{known}/correction", correction)
            if got and got[0] == 200:
                with self.lock:
                    self.corrected.add(known)
        elif draw < 0.93:
            got = self.request(connection, "POST", "/v1/reviews/claims", {"count": 1})
            if got and got[0] == 200 and got[1]["groups"]:
                row = got[1]["groups"][0]["transaction"]["id"]
                decision = {"transaction_id": row, "category": category, "scope": "transaction"}
                got = self.request(connection, "POST", "/v1/reviews/decisions", decision)
                if got and got[0] == 201:
                    with self.lock:
                        self.decided.add(row)
        elif draw < 0.97:
            self.request(connection, "GET", f"/v1/transactions/{known}")
        else:
            self.request(connection, "GET", "/v1/reviews?limit=20")

    def run(self, seconds, rate=None):
        """Sends for so long: so many calls a second, or as many as are answered."""
        begun, due = time.monotonic(), [time.monotonic()]
        end = begun + seconds

        def caller():
            connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
            while True:
                now = time.monotonic()
                if rate is not None:
                    with self.lock:
                        # What could not be sent while all callers waited is not made up for.
                        due[0] = max(due[0] + 1 / rate, now - 1)
                        at = due[0]
                    time.sleep(max(0, min(at, end) - now))
                if time.monotonic() >= end:
                    break
                self.one(connection)
            connection.close()

        callers = [threading.Thread(target=caller) for _ in range(arguments.callers)]
        for one in callers:
            one.start()
        return callers

    def begin_run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        # Rows of some accounts: what it takes does not grow with the time that the traffic lasts.
        accounts = [f"account-{number}" for number in self.random.sample(range(997), 20)]
        body = {"scope": {"account_ids": accounts}, "reason": "under load"}
        got = self.request(connection, "POST", "/v1/recategorizations", body)
        if got and got[0] == 202:
            self.runs.append(got[1]["id"])

    def send_again(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        again = list(self.unsure.values())
        for at in range(0, len(again), 100):
            self.ingest(connection, again[at : at + 100])
        return len(again)

    def end_runs(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        phases, patience = {}, time.monotonic() + 120
        while time.monotonic() < patience:
            for run in self.runs:
                if phases.get(run) not in ("previewed", "applied"):
                    phases[run] = self.service.call(connection, "GET", f"/v1/recategorizations/{run}")[1]["phase"]
            waiting = [run for run in self.runs if phases[run] not in ("previewed", "applied")]
            if not waiting:
                break
            time.sleep(0.2)
        return phases


def main():
    folder = tempfile.mkdtemp(prefix="txcat-load-")
    os.chmod(folder, 0o755)
    postgres = model = service = None
    try:
        postgres, model = Postgres(folder), Model()
        model.start()
        service = Service(folder, postgres, model)
        return check(postgres, model, service)
    finally:
        if service is not None and service.process.poll() is None:
            service.kill()
        if postgres is not None:
            postgres.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def check(postgres, model, service):
    traffic = Traffic(service)
    for one in traffic.run(arguments.capacity_seconds):
        one.join()
    capacity = traffic.sent / arguments.capacity_seconds
    rate = capacity * arguments.share
    traffic.took.clear()
    print(f"capacity: {capacity:.1f} calls/s with {arguments.callers} callers; traffic: {rate:.1f} calls/s for {arguments.seconds:.0f} s")

    callers = traffic.run(arguments.seconds, rate)
    steady = arguments.seconds / 4
    memory = []

    def phase(name):
        """A steady part, without faults; what the service holds soon after its beginning and at its end."""
        begun = time.monotonic()
        time.sleep(steady * 0.3)
        traffic.begin_run()
        first = service.memory()
        time.sleep(max(0, begun + steady * 0.9 - time.monotonic()))
        memory.append((name, first, service.memory()))
        print(f"{name}: {first:.0f} MiB, then {memory[-1][2]:.0f} MiB; {traffic.sent} sent, {traffic.answered} answered")
        sys.stdout.flush()

    def whole_again():
        """Until a new row is answered."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
        while True:
            with traffic.lock:
                rows, before = traffic.new_rows(), len(traffic.accepted)
            try:
                traffic.ingest(connection, rows)
            except OSError:
                pass
            if rows[0]["id"] in traffic.accepted:
                break
            time.sleep(0.1)
        # Calls that began before may still end badly.
        time.sleep(0.5)
        traffic.mended()
        return time.monotonic() - begun

    phase("before")
    traffic.fault()
    service.kill()
    service.start()
    print(f"killed with -9 and started again; answers after {whole_again():.1f} s more")
    phase("after the kill")
    traffic.fault()
    postgres.stop()
    time.sleep(arguments.down)
    postgres.start()
    print(f"Postgres was down for {arguments.down:.0f} s; answers after {whole_again():.1f} s more")
    phase("after Postgres")
    traffic.fault()
    model.stop()
    time.sleep(arguments.down)
    model.start()
    print(f"the model was dead for {arguments.down:.0f} s; answers after {whole_again():.1f} s more")
    phase("after the model")
    for one in callers:
        one.join()
    again = traffic.send_again()
    phases = traffic.end_runs()
    stopped = service.stop()

    audit = subprocess.run([arguments.txcat, "audit", "verify"], env=service.environment, capture_output=True, text=True)
    stored = set(postgres.lines("select id from transactions"))
    bare = int(postgres.lines("select count(*) from transactions t where not exists (select from predictions p where p.transaction_id = t.id)")[0])
    said = set(postgres.lines("select distinct transaction_id from corrections_made"))
    took = sorted(traffic.took)
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
    grown = memory[-1][2] / memory[1][1] - 1
    print(f"sent {traffic.sent} = answered {traffic.answered} + refused {traffic.refused} + cut off {traffic.cut}")
    print(f"refused: {dict(traffic.refusals)}")
    print(f"rows: {len(stored)} stored, {len(traffic.accepted)} accepted, {again} of them when they were sent again")
    print(f"corrections and decisions: {len(traffic.corrected)} and {len(traffic.decided)}; recategorizations: {phases}")
    print(f"seconds a call: p50 {at(0.5):.3f}, p95 {at(0.95):.3f}, p99 {at(0.99):.3f}, at most {took[-1]:.3f}")
    print(f"audit log: {(audit.stdout or audit.stderr).strip()}")
    print(f"memory since the kill: {memory[1][1]:.0f} MiB to {memory[-1][2]:.0f} MiB ({100 * grown:+.0f} %)")
    checks = {
        "each request was answered, refused or cut off": traffic.sent == traffic.answered + traffic.refused + traffic.cut,
        "nothing strange": not traffic.strange,
        "rows stored are rows accepted": stored == set(traffic.accepted) and not traffic.unsure,
        "each row is categorized": bare == 0,
        "each answered correction and decision is stored": traffic.corrected | traffic.decided <= said,
        "recategorizations end": bool(phases) and set(phases.values()) <= {"previewed", "applied"},
        "the audit log is whole": audit.returncode == 0,
        "the server stops when it is told": stopped == 0,
        "memory is flat": grown <= arguments.growth,
    }
    for one in traffic.strange[:20]:
        print(f"  {one}")
    for name, holds in checks.items():
        print(f"{'ok    ' if holds else 'FAILED'} {name}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
