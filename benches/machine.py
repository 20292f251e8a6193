"""What the benchmarks here have in common: how quiet the machine is, programs that end in time, and medians."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile


class Probe:
    """Asks how fast the machine is right now, by a program that prints one number, or by its source in C."""

    def __init__(self, path, quiet):
        self.quiet, self.seen, self.folder = quiet, [], None
        self.program = path
        if path and path.endswith(".c"):
            self.folder = tempfile.mkdtemp()
            self.program = os.path.join(self.folder, "probe")
            subprocess.run(["gcc", "-O2", "-march=native", path, "-o", self.program], check=True)

    def ask(self):
        if not self.program:
            return None
        told = subprocess.run([self.program, "g"], check=True, capture_output=True, text=True, timeout=60).stdout
        self.seen.append(float(told.split()[-1]))
        return self.seen[-1]

    def close(self):
        if self.folder:
            shutil.rmtree(self.folder)

    def summary(self):
        load = " ".join(f"{of:.1f}" for of in os.getloadavg())
        if not self.seen:
            return f"no probe was given; load {load}"
        low = sum(of < self.quiet for of in self.seen)
        return (
            f"probe {min(self.seen):.0f} to {max(self.seen):.0f}, median {statistics.median(self.seen):.0f}; "
            f"{low} of {len(self.seen)} below {self.quiet:.0f}; load {load}"
        )


def there(path):
    """A file, folder or program that a command names."""
    if not os.path.exists(path) and not shutil.which(path):
        raise argparse.ArgumentTypeError(f"{path} is not there")
    return path


def add_arguments(parser):
    parser.add_argument("--probe", type=there, help="a program that prints how fast the machine is, or its source in C (cpu_probe.c)")
    parser.add_argument("--quiet", type=float, default=205, help="what the probe gives at least on a quiet machine")


def last_line(command, environment, within):
    """The last line that a program prints, which must end in time."""
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=within)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{child.stderr[-2000:]}")
    return child.stdout.strip().splitlines()[-1]


def last_json(command, environment, within):
    return json.loads(last_line(command, environment, within))


def spread(values, digits=1):
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
