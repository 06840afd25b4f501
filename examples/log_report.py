"""Report on a log file of any size in constant memory: lines stream through a flow.

    python examples/log_report.py [MEGABYTES]

It makes the file itself, 2 MB without an argument.  With one it also says how fast it was, and how much memory it took.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ezflow import Flow, ProcessPoolExecutor

BLOCK = 1 << 20  # bytes of a piece of the file
PAGES = ["/", "/about", "/search", "/basket", "/login", "/image.png"]


def make_log(path: Path, megabytes: int) -> None:
    """Write a log: time, host, request, status, size, milliseconds."""
    rng = random.Random(1)
    lines = []
    for second in range(10_000):
        page = rng.choice(PAGES)
        status = rng.choices([200, 404, 500], [95, 4, 1])[0]
        host = f"10.0.{rng.randrange(4)}.{rng.randrange(200)}"
        took = rng.expovariate(1 / 40)
        lines.append(
            f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} {host}"
            f' "GET {page}" {status} {rng.randrange(100_000)} {took:.1f}\n'
        )
    text = "".join(lines).encode()
    with path.open("wb") as file:
        while file.tell() < megabytes << 20:
            file.write(text)


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the file in pieces of whole lines."""
    with path.open("rb") as file:
        rest = b""
        while block := file.read(BLOCK):
            block, _, tail = (rest + block).rpartition(b"\n")
            yield block
            rest = tail
    if rest:
        yield rest


def parse(block: bytes) -> list[tuple[str, int, float]]:
    """Give page, status and milliseconds of each line."""
    rows = []
    for line in block.decode().splitlines():
        _, request, tail = line.split('"')
        status, _, took = tail.split()
        rows.append((request.split()[1], int(status), float(took)))
    return rows


def count(rows: list[tuple[str, int, float]]) -> tuple[Counter[str], Counter[str], int]:
    """Count requests and errors of each page, and slow requests."""
    requests = Counter(page for page, _, _ in rows)
    errors = Counter(page for page, status, _ in rows if status >= 500)
    return requests, errors, sum(took > 200 for _, _, took in rows)


def report(path: Path) -> None:
    """Print what is in the log."""
    requests: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    n_slow = 0
    with ProcessPoolExecutor() as pool:
        for some, failed, slow in Flow(parse, count).on(pool).stream(blocks(path)):
            requests += some
            errors += failed
            n_slow += slow
    print(f"{requests.total():,} requests, {errors.total():,} errors, {n_slow:,} slow")
    for page, n in requests.most_common(3):
        print(f"{page:12} {n:8,}  {errors[page] / n:.2%} errors")


with tempfile.TemporaryDirectory() as folder:
    log = Path(folder) / "access.log"
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    make_log(log, megabytes)
    started = time.perf_counter()
    report(log)
    if len(sys.argv) > 1:
        seconds = time.perf_counter() - started
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{megabytes} MB in {seconds:.1f} s, {megabytes / seconds:.0f} MB/s; peak of this process {rss:.0f} MB"
        )
