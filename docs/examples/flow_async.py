import asyncio

from ezflow import Batch, Flow, ProcessPoolExecutor


async def sensor():
    for n in range(6):
        await asyncio.sleep(0.01)
        yield n


def calibrate(n):
    return n / 2


async def main():
    with ProcessPoolExecutor(2) as pool:
        async for batch in Flow(calibrate, Batch(3)).on(pool).stream(sensor()):
            print(batch)


asyncio.run(main())
