import asyncio
import os
import signal
import time

from ezflow import ProcessPoolExecutor


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    pool = ProcessPoolExecutor(2)
    short = pool.submit(time.sleep, 0.1)
    endless = pool.submit(time.sleep, 3600)

    os.kill(os.getpid(), signal.SIGTERM)  # what Docker, systemd and Kubernetes do
    await stop.wait()
    print("all ended by themselves:", await pool.drain(5))
    print("short:", "ended" if not short.cancelled() else "cancelled")
    print("endless:", "ended" if not endless.cancelled() else "cancelled")


asyncio.run(main())
