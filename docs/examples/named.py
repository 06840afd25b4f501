import os

from ezflow import ProcessPoolExecutor, WorkerDied, current_call


def load(path):
    if path.endswith("bad"):
        os._exit(1)
    return current_call().name


with ProcessPoolExecutor(1) as pool:
    print(pool.submit.named("January")(load, "01.csv").result())
    try:
        pool.submit.named("February")(load, "02.bad").result()
    except WorkerDied as error:
        print(error.call)
