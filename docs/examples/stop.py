import time
from concurrent.futures import CancelledError

from ezflow import ProcessPoolExecutor


def stubborn():
    while True:
        time.sleep(1)


with ProcessPoolExecutor(1) as pool:
    future = pool.submit(stubborn)
    try:
        future.result(timeout=2)  # limits the waiting only, as in the standard library
    except TimeoutError:
        print("ended by that:", future.done())
    print("stopped:", future.cancel())
    try:
        future.result()
    except CancelledError:
        print("cancelled")
    print("the worker's place is free:", pool.submit(pow, 2, 5).result())
