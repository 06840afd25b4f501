"""Print how fast items stream through trivial stages, and in how much memory.

``python -m tests.bench.flows [--n ITEMS] [--long ITEMS] [--rounds N] [--workers N] [--only NAME]``

Every cell runs in its own fresh process, which warms up and prints JSON; the libraries take turns.  A library that is not
installed shows a dash.  The rate counts from the first item asked for to the last one taken, on a warm pool where there
is one; pypeln, pyper and mpyx start their processes for each run, as they do for their users.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 600.0  # s for one cell

LIBRARIES = {
    "ezflow": "",
    "ezflow, apart": "",
    "nested map(chunksize=64)": "",
    "pypeln": "pypeln",
    "pyper": "pyper",
    "mpyx": "mpyx",
}
LARGE = {200_000: 600, 2_000_000: 200, 20_000_000: 40}  # items of each size in bytes
SLOW = {"pypeln", "pyper", "mpyx"}  # they get fewer items, or a round takes half an hour


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1_000_000, help="items through three stages")
    parser.add_argument(
        "--long", type=int, default=10_000_000, help="items of the run whose memory is looked at"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", default="", help="a library, 'memory', or 'large'")
    args = parser.parse_args()
    print(
        f"Python {sys.version.split()[0]}, {args.workers} workers, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )
    rates: dict[str, list[float]] = {name: [] for name in LIBRARIES if args.only in ("", name)}
    for _ in range(args.rounds):
        for name, found in rates.items():
            needs = LIBRARIES[name]
            if needs and importlib.util.find_spec(needs) is None:
                continue
            n = min(args.n, 20_000) if name in SLOW else args.n
            cell = measured(["rate", name, str(n), str(args.workers)])
            if cell is not None:
                found.append(cell["rate"])
    for name, found in rates.items():
        text = (
            "-"
            if not found
            else f"{statistics.median(found):12,.0f} items/s   {min(found):,.0f} to {max(found):,.0f}"
        )
        print(f"{name:28} {text}")
    if args.only in ("", "large"):
        show_large(args.rounds, args.workers)
    if args.only in ("", "memory"):
        cell = measured(["memory", "ezflow", str(args.long), str(args.workers)])
        if cell is None:
            return 1
        print(
            f"{args.long:,} items, unfused and fused stages: RSS {cell['first_mb']:.0f} MB after a tenth of them,"
            f" {cell['last_mb']:.0f} MB at the end, {cell['most_mb']:.0f} MB at most; {cell['rate']:,.0f} items/s"
        )
    return 0


def show_large(rounds: int, workers: int) -> None:
    """Print what large arrays cost that go through four stages: ours, and nested maps of the standard pool."""
    print("\narrays through four stages     items/s   parent's CPU per item   parent's memory at most")
    for nbytes, n in LARGE.items():
        cells: dict[str, list[dict[str, float]]] = {"ezflow": [], "nested map": []}
        for _ in range(rounds):
            for name, found in cells.items():
                cell = measured(["large", name, str(n), str(workers), str(nbytes)])
                if cell is not None:
                    found.append(cell)
        for name, found in cells.items():
            rate, cpu, most = (
                statistics.median(cell[key] for cell in found) for key in ("rate", "cpu_ms", "most_mb")
            )
            print(f"{nbytes / 1e6:6.1f} MB  {name:12} {rate:16,.0f} {cpu:17.2f} ms {most:18,.0f} MB")
    print()


def measured(args: list[str]) -> dict[str, float] | None:
    """Run a cell in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.flows.cell", *args]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"{args}: took more than {LIMIT:g} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{args}: {done.stderr[-400:]}", file=sys.stderr)
        return None
    cell: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cell


if __name__ == "__main__":
    raise SystemExit(main())
