import asyncio
import tempfile
import time
from pathlib import Path

from ezflow import ProcessPoolExecutor


async def session(folder):
    (folder / "open").touch()
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        (folder / "closed").touch()  # raised inside first, so that it can say goodbye
        raise


with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, grace=20) as pool:
    folder = Path(name)
    future = pool.submit(session, folder)
    while not (folder / "open").exists():
        time.sleep(0.01)
    print(future.cancel())
    pool.shutdown()
    print("closed:", (folder / "closed").exists())
