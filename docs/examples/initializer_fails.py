from ezflow import PoolBroken, ProcessPoolExecutor


def prepare():
    raise FileNotFoundError("model.bin")


with ProcessPoolExecutor(1, initializer=prepare) as pool:
    try:
        pool.submit(pow, 2, 2).result()
    except PoolBroken as error:
        print(repr(error.__cause__))
