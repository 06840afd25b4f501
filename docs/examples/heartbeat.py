import asyncio

from ezflow import ProcessPoolExecutor


def busy(n):
    return sum(number * number for number in range(n))


async def heartbeat(beats):
    while True:
        beats.append(None)
        await asyncio.sleep(0.001)


async def main():
    beats = []
    heart = asyncio.create_task(heartbeat(beats))
    async with ProcessPoolExecutor(2) as pool:
        answers = await asyncio.gather(*(pool.submit(busy, 100_000) for _ in range(200)))
    heart.cancel()
    print(len(answers), "answers; the loop went on meanwhile:", len(beats) > 5)


asyncio.run(main())
