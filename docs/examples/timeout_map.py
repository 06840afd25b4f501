import time

from ezflow import ProcessPoolExecutor

with ProcessPoolExecutor(2) as pool:
    for result in pool.map.timeout(2).results()(time.sleep, [0, 3600, 0, 0]):
        print(result.index, type(result.err).__name__ if result.err else "in time")
