"""One table for many calls."""

import numpy as np

import ezflow


def count_above(table, limit):
    return int((table > limit).sum())


with ezflow.ProcessPoolExecutor(2) as pool:
    table = ezflow.put(np.arange(1_000_000))
    print([pool.submit(count_above, table, limit).result() for limit in (10, 500_000, 999_998)])
