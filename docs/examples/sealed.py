"""What one call makes goes to others without being unpacked in between."""

import numpy as np

from ezflow import ProcessPoolExecutor


def simulate(n):
    return np.arange(float(n))


with ProcessPoolExecutor(2) as pool:
    field = pool.submit.sealed()(simulate, 1_000_000).result()
    low, high, mean = (pool.submit(f, field) for f in (np.min, np.max, np.mean))
    print(low.result(), high.result(), mean.result())
