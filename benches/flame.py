"""Records with `perf` what the processors do, adds it up by who does it, and draws it: a flame graph without a script in it.

    python benches/flame.py perf.data out.svg "A title"
"""

import collections
import html
import os
import re
import signal
import subprocess
import sys

WIDTH, HEIGHT, LEAST = 1200, 16, 1.2

# What a sample counts as: the first line of which any of its frames has the words. Those of one process name come first,
# because what happens there is that process's whatever the kernel does for it.
BY_PROCESS = [("postgres", "Postgres"), ("python", "the load's clients"), ("perf", "perf"), ("swapper", None)]
BY_FRAME = [
    (r"infer::isa.*(plain|gelu|added|reduce)", "encoder in int8: products"),
    (r"infer::isa.*attend", "encoder in int8: attention"),
    (r"model::infer", "encoder in int8: the rest"),
    (r"model::packed|gemm", "encoder in f32"),
    (r"tokenizers", "cutting into tokens"),
    (r"model::wide", "wide part"),
    (r"txcat::model::", "adapter: the rest"),
    (r"sqlx", "speaking to Postgres"),
    (r"serde_json", "JSON"),
    (r"txcat::(pipeline|enrich|domain|store|categorize)", "pipeline and domain"),
    (r"hyper|axum|tower|txcat::http", "HTTP"),
    (r"tokio", "tokio"),
]


class Recording:
    """All processes from now until it is drawn."""

    def __init__(self, folder):
        self.data = os.path.join(folder, "perf.data")
        # Stacks are copied: optimized code keeps no frame pointers.
        command = ["perf", "record", "-o", self.data, "-F", "99", "-e", "cpu-clock", "-a", "--call-graph", "dwarf,16384"]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def draw(self, path, title):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(120)
        return draw(self.data, path, title)


def samples(data):
    """Stacks, outermost frame first, each with its process's name in front."""
    command = ["perf", "script", "-i", data, "--no-inline", "-F", "comm,ip,sym"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout
    for block in told.split("\n\n"):
        lines = block.strip("\n").split("\n")
        name = lines[0].strip().rstrip(":").strip()
        if not name:
            continue
        frames = [plain(line) for line in lines[1:] if line.strip()]
        frames = [frame for frame in frames if frame != "[unknown]"]
        yield [name, *reversed(frames)]


def plain(line):
    """A frame's function, without hashes and generic arguments."""
    name = line.strip().split(" ", 1)[-1].strip()
    name = re.sub(r"::h[0-9a-f]{16}$", "", name)
    name = re.sub(r"\+0x[0-9a-f]+$", "", name)
    while True:
        shorter = re.sub(r"(?<=[\w>])::?<[^<>]*>|(?<=\w)<[^<>]*>", "", name)
        if shorter == name:
            return name
        name = shorter


def kind(stack):
    for words, of in BY_PROCESS:
        if stack[0].startswith(words):
            return of
    for words, of in BY_FRAME:
        if any(re.search(words, frame) for frame in stack[1:]):
            return of
    return f"other: {stack[0]}"


def draw(data, path, title):
    """Writes the picture, and returns what each kind of work took of the time that was not idle."""
    kinds, tree, total = collections.Counter(), {}, 0
    root = [0, tree]
    for stack in samples(data):
        of = kind(stack)
        if of is None:
            continue
        total += 1
        kinds[of] += 1
        root[0] += 1
        level = tree
        # Who it is first, so that a glance tells the shares.
        for frame in [of, *stack]:
            here = level.setdefault(frame, [0, {}])
            here[0] += 1
            level = here[1]
    if total == 0:
        sys.exit("perf saw nothing")
    boxes, deepest = [], 0

    def lay(level, left, depth):
        nonlocal deepest
        for frame, (count, inner) in sorted(level.items(), key=lambda item: -item[1][0] if depth == 0 else 0):
            width = count / total * WIDTH
            if width >= LEAST:
                deepest = max(deepest, depth)
                boxes.append((left, depth, width, frame, count))
                lay(inner, left, depth + 1)
            left += width

    lay(tree, 0.0, 0)
    bottom = (deepest + 3) * HEIGHT
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 8}" font-family="sans-serif" font-size="11">\n'
            f'<rect width="100%" height="100%" fill="#fff"/>\n'
            f'<text x="4" y="14" font-size="13">{html.escape(title)}; {total} samples</text>\n'
        )
        for left, depth, width, frame, count in boxes:
            y = bottom - (depth + 1) * HEIGHT
            hue = sum(map(ord, frame)) * 37 % 60
            text = html.escape(frame)
            label = html.escape(frame if len(frame) * 6 < width else frame[: max(0, int(width / 6) - 1)]) if width > 30 else ""
            file.write(
                f'<g><title>{text}: {count / total:.2%}</title><rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT - 1}" '
                f'fill="hsl({hue},80%,{80 if depth else 65}%)"/>'
                + (f'<text x="{left + 2:.1f}" y="{y + 11}">{label}</text>' if label else "")
                + "</g>\n"
            )
        file.write("</svg>\n")
    told = [(of, count / total) for of, count in kinds.most_common() if count / total >= 0.005]
    return [*told, ("what takes less than half a percent", 1 - sum(share for _, share in told))]


if __name__ == "__main__":
    for name, share in draw(*sys.argv[1:4]):
        print(f"{share:6.1%}  {name}")
