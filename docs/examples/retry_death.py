import os

from ezflow import ProcessPoolExecutor, WorkerDied, current_call


def fragile():
    if current_call().attempt == 1:
        os._exit(1)  # as a crash in compiled code would
    return f"run {current_call().attempt}"


with ProcessPoolExecutor(1) as pool:
    print(type(pool.submit.retry(2)(fragile).exception()).__name__)
    print(pool.submit.retry(2, on=(Exception, WorkerDied))(fragile).result())
