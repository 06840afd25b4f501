import asyncio

from ezflow import ProcessPoolExecutor


def lines(text):
    for line in text.splitlines():
        yield line.strip().title()


async def main():
    async with ProcessPoolExecutor(1) as pool:
        async for line in pool.submit.stream()(lines, "one\ntwo\nthree"):
            print(line)


asyncio.run(main())
