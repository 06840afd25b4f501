import tempfile
import time
from pathlib import Path

from ezflow import ProcessPoolExecutor


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1) as pool:
    gate = Path(folder, "open")
    pool.submit(wait_for, gate)  # keeps the only worker busy while the others queue
    for name, n in [("report", 0), ("backup", -1), ("click", 5), ("other report", 0)]:
        future = pool.submit.priority(n)(str, name)
        future.add_done_callback(lambda future: print(future.result()))
    gate.touch()
