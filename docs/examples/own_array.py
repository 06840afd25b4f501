"""A call writes to what arrived, and nobody sees it."""

import numpy as np

from ezflow import ProcessPoolExecutor


def clipped_mean(values):
    values.clip(0, 1, out=values)  # in place: it is ours
    return float(values.mean())


with ProcessPoolExecutor(2) as pool:
    values = np.linspace(-1, 2, 300_001)
    future = pool.submit(clipped_mean, values)
    values *= 100  # the call has what it was when it was submitted
    print(future.result(), values.max())
