import threading

from ezflow import PicklingError, ProcessPoolExecutor


class Job:
    def __init__(self):
        self.lock = threading.Lock()


with ProcessPoolExecutor(1) as pool:
    try:
        pool.submit(print, Job()).result()
    except PicklingError as error:
        print(error.direction, error.path)
    print(pool.submit(len, "abc").result())
