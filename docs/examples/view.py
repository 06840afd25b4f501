import asyncio
import time
from concurrent.futures import Executor

from ezflow import CallTimeout, ProcessPoolExecutor


def library(executor: Executor, seconds):
    """Code of somebody else, that knows the standard interface only."""
    return executor.submit(time.sleep, seconds).exception()


async def main(executor):
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(executor, time.sleep, 3600)
    except CallTimeout as error:
        print("run_in_executor:", error.seconds)


with ProcessPoolExecutor(2) as pool:
    limited = pool.timeout(1).retry(2)  # the same pool and workers, with other defaults
    print(type(limited) is type(pool), isinstance(limited, Executor))
    print("library:", type(library(limited, 3600)).__name__)
    print("library:", library(pool, 0))
    asyncio.run(main(pool.timeout(2)))
