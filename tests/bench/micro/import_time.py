"""Print the milliseconds that importing a library costs a fresh interpreter, above a bare one.

Two figures: the package alone, and the package with its pool class ready to be called.  Each is the median of
several interpreters; the bare one is measured in turn with them and taken off.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

TIMES = 7
PACKAGE = {
    "ezflow": "import ezflow",
    "stdlib": "import concurrent.futures.process",
    "loky": "import loky",
    "pebble": "import pebble",
    "mpire": "import mpire",
    "mp.Pool": "import multiprocessing",
}
CLASS = {
    "ezflow": "from ezflow import ProcessPoolExecutor",
    "stdlib": "from concurrent.futures import ProcessPoolExecutor",
    "loky": "from loky import ProcessPoolExecutor",
    "pebble": "from pebble import ProcessPool",
    "mpire": "from mpire import WorkerPool",
    "mp.Pool": "from multiprocessing.pool import Pool",
}


def wall(statement: str) -> float:
    """Return the milliseconds of a fresh interpreter that runs `statement`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    library = sys.argv[1]
    wall(CLASS[library])  # fills the file cache and __pycache__
    figures: dict[str, list[float]] = {"bare": [], "import": [], "class": []}
    for _ in range(TIMES):
        figures["bare"].append(wall("pass"))
        figures["import"].append(wall(PACKAGE[library]))
        figures["class"].append(wall(CLASS[library]))
    bare = statistics.median(figures["bare"])
    print(
        json.dumps(
            {key: statistics.median(values) - bare for key, values in figures.items() if key != "bare"}
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
