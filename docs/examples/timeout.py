import time

from ezflow import CallTimeout, ProcessPoolExecutor


def fetch(seconds):
    try:
        time.sleep(seconds)
        return "done"
    finally:
        pass  # close what is open; this runs when the limit is over, too


with ProcessPoolExecutor(2) as pool:
    slow = pool.submit.timeout(1)(fetch, 3600)
    quick = pool.submit.timeout(60)(fetch, 0)
    try:
        slow.result()
    except CallTimeout as error:
        print(error.call, error.seconds, isinstance(error, TimeoutError))
        print("it was in time.sleep:", "time.sleep(seconds)" in error.stack)
    print(quick.result())
