import asyncio

from ezflow import ProcessPoolExecutor


def square(number):
    return number * number


async def numbers():  # an asynchronous input, such as lines from a socket
    for number in range(4):
        await asyncio.sleep(0)
        yield number


async def main():
    async with ProcessPoolExecutor(2) as pool:
        print(await pool.map.asynced()(square, range(4)))

        async for value in pool.map.asynced()(square, numbers()):
            print(value, end=" ")
        print()

        async with asyncio.TaskGroup() as group:  # takes coroutines only
            one = group.create_task(pool.submit.asynced()(square, 7))
            many = group.create_task(pool.map.asynced()(square, [8, 9]))
        print(one.result(), many.result())


asyncio.run(main())
