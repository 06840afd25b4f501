import tempfile
import time
from pathlib import Path

from ezflow import ProcessPoolExecutor


def read(name, gate):
    while name == "slow" and not gate.exists():
        time.sleep(0.01)
    return name


with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
    gate = Path(folder, "open")
    for name in pool.map.unordered()(read, ["slow", "quick"], [gate, gate]):
        print(name)
        gate.touch()

    # With envelopes, `index` says which input a result belongs to.
    found = {result.index: result.ok for result in pool.map.unordered().results()(str.upper, ["a", "b", "c"])}
    print([found[index] for index in sorted(found)])
