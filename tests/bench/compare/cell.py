"""Run one cell of the table in this fresh process and print one JSON line."""

from __future__ import annotations

import argparse
import json
import os
import sys

# Defined in __main__ on purpose: only pools that pickle by value can send it.
in_main = lambda x: x  # noqa: E731


def main() -> None:
    from tests.bench.compare import workloads
    from tests.bench.compare.adapters import ADAPTERS

    parser = argparse.ArgumentParser()
    parser.add_argument("row")
    parser.add_argument("library")
    parser.add_argument("method")
    parser.add_argument("n", type=float)
    options = parser.parse_args()
    adapter, n = ADAPTERS[options.library], int(options.n)

    def make() -> workloads.Adapter:
        return adapter(workloads.WORKERS, options.method)

    values: dict[str, float]
    match options.row:
        case "submit":
            values = {"submit": workloads.submit(make, n)}
        case "lambda":
            values = {"lambda": workloads.submit(make, n, in_main)}
        case "latency":
            values = {"latency": workloads.latency(make, n)}
        case "map":
            values = {"map": workloads.map_items(make, n)}
        case "limit":
            values = {"limit": workloads.map_with_limit(make, n)}
        case "submit_limit":
            values = {"submit_limit": workloads.submit_with_limit(make, n)}
        case "array":
            values = {"array": workloads.array(make, n)}
        case "shared":
            values = {"shared": workloads.shared(make, n)}
        case "diamond":
            values = {"diamond": workloads.diamonds(make, n)}
        case "passing":
            values = workloads.passing(make, n)
        case "chain":
            values = {"chain": workloads.chain(make, n)}
        case "sleeps":
            values = {"sleeps": workloads.sleeps(make, n)}
        case "idle":
            values = workloads.idle(make, options.n)
        case _:
            raise SystemExit(f"no row {options.row}")
    print(json.dumps(values), flush=True)
    sys.stdout.flush()
    os._exit(0)  # how a library ends its process is not what is measured here


if __name__ == "__main__":
    main()
