import tempfile
import time
from pathlib import Path

from ezflow import ProcessPoolExecutor


def measure(folder):
    Path(folder, "started").touch()
    try:
        while True:
            time.sleep(1)
    finally:
        Path(folder, "tidy").write_text("cleaned up")


with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, grace=20) as pool:
    future = pool.submit(measure, folder)
    while not Path(folder, "started").exists():
        time.sleep(0.01)
    future.cancel()
    pool.shutdown()
    print(Path(folder, "tidy").read_text())
