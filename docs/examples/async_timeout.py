import asyncio
import time

from ezflow import ProcessPoolExecutor


async def main():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1) as pool:
        try:
            async with asyncio.timeout(1):
                await loop.run_in_executor(pool, time.sleep, 3600)
        except TimeoutError:
            print("given up, and stopped")
        print(await loop.run_in_executor(pool, pow, 2, 8))  # the only worker is free


asyncio.run(main())
