from ezflow import CallTimeout, ProcessPoolExecutor


def count_for_ever():
    return sum(iter(int, 1))  # in C, so no exception can end it


with ProcessPoolExecutor(1) as pool:
    future = pool.submit.timeout(1)(count_for_ever)
    try:
        future.result()
    except CallTimeout as error:
        print(error)
        print(error.stack.splitlines()[-1].strip())
