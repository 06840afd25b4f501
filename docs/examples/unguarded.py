import os

from ezflow import ProcessPoolExecutor

with ProcessPoolExecutor(2) as pool:
    offset = 100
    print(list(pool.map(lambda number: number + offset, range(3))))
    crash = pool.submit(os._exit, 1)
    print(type(crash.exception()).__name__)
    print(pool.submit(pow, 2, 10).result())
