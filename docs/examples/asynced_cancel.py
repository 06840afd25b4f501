import asyncio
import time

from ezflow import CallTimeout, ProcessPoolExecutor


async def main():
    async with ProcessPoolExecutor(2) as pool:
        try:
            async with asyncio.timeout(1):  # limits the waiting; leaving it stops the work
                await pool.map.asynced()(time.sleep, [3600, 3600])
        except TimeoutError as error:
            print(type(error).__name__)
        try:
            await pool.submit.timeout(1)(time.sleep, 3600)  # limits each run of the call
        except CallTimeout as error:
            print(error.call, error.seconds)
        print(await pool.submit(pow, 2, 10))


asyncio.run(main())
