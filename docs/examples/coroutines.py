import asyncio
from functools import partial

from ezflow import ProcessPoolExecutor


async def fetch(name, times=1):
    await asyncio.sleep(0.01)
    return name * times


def countdown(number):
    while number:
        yield number
        number -= 1


with ProcessPoolExecutor(2) as pool:
    print(pool.submit(fetch, "a").result())
    print(pool.submit(partial(fetch, times=2), "b").result())  # what comes back decides, not what is called
    print(list(pool.map(lambda name: fetch(name, 3), "cd")))
    print(pool.submit(countdown, 3).result())
    print(list(pool.map(countdown, [1, 2])))
    try:
        pool.submit(fetch("e"))
    except TypeError as error:
        print(error)
