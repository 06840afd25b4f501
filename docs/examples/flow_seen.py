import sys
import time

from ezflow import As, Flow, ProcessPoolExecutor


def read(n):
    return n


def analyse(n):
    time.sleep(0.01)
    return n % 7


flow = Flow(read, As(2, analyse)).watch(file=sys.stdout)  # a terminal would show the table while it runs

with ProcessPoolExecutor(2) as pool:
    outcome = flow.on(pool).run(range(200))

print(outcome.statistics)
