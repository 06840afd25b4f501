from itertools import count

from ezflow import Batch, Flow, ProcessPoolExecutor

taken = []


def endless():
    for n in count():
        taken.append(n)
        yield n


def double(n):
    return 2 * n


with ProcessPoolExecutor(2) as pool:
    with Flow(double, Batch(2)).on(pool).max_pending(8).stream(endless()) as stream:
        print(next(stream), next(stream))
        print(len(taken) <= 2 * 2 + 8)  # what we took, and what may be on its way
    print("closed")
