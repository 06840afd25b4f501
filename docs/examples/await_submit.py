import asyncio

from ezflow import ProcessPoolExecutor


def square(number):
    return number * number


async def main():
    with ProcessPoolExecutor(2) as pool:
        print(await pool.submit(square, 7))
        print(await asyncio.gather(*(pool.submit(square, number) for number in range(4))))


asyncio.run(main())
