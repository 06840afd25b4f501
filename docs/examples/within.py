import time

from ezflow import ProcessPoolExecutor

with ProcessPoolExecutor(1) as pool:
    results = list(pool.map.within(5).results()(time.sleep, [0, 3600, 0]))

print("first:", "ended" if results[0] else results[0].err)
print("second:", type(results[1].err).__name__)
print("third:", type(results[2].err).__name__, "after", results[2].attempts, "runs")
