from itertools import count

from ezflow import Batch, Flow, ProcessPoolExecutor

n_taken = 0


def endless():
    global n_taken
    for n_taken in count(1):
        yield n_taken


def double(n):
    return 2 * n


with ProcessPoolExecutor(2) as pool:
    with Flow(double, Batch(2)).on(pool).max_pending(8).stream(endless()) as stream:
        print(next(stream), next(stream))
        print(n_taken <= 2 * 2 + 8)  # what we took, and what may be on its way
    print("closed")
