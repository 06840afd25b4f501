"""Print the milliseconds from making a pool to its first result, in this fresh process.

Small, because the standard pool imports this file again in each worker.
"""

from __future__ import annotations

import json
import os
import sys
import time

if __name__ == "__main__":
    from tests.bench.compare.adapters import ADAPTERS
    from tests.bench.compare.work import same

    library, method = sys.argv[1:]
    if library == "ezflow":
        from ezflow import ProcessPoolExecutor  # its import has a row of its own
    elif library == "stdlib":
        from concurrent.futures import ProcessPoolExecutor  # noqa: F401 - the same
    elif library != "mp.Pool":
        __import__(library)
    start = time.perf_counter()
    pool = ADAPTERS[library](4, method)
    if pool.submit(same, 1)() != 1:
        raise AssertionError
    print(json.dumps({"cold": 1e3 * (time.perf_counter() - start)}), flush=True)
    pool.close()
    os._exit(0)
