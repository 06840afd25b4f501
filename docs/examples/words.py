import time

from ezflow import CallTimeout, ProcessPoolExecutor, task

with ProcessPoolExecutor(2) as pool:
    # Any order means the same.
    pairs = [(2, 3), (3, 2)]
    print(list(pool.map.star().retry(2).timeout(60)(pow, pairs)))
    print(list(pool.star().timeout(60).map.retry(2)(pow, pairs)))

    # The nearest to the call wins: here 1 s, not the task's hour, nor the view's.
    patient = task(time.sleep).timeout(3600)
    try:
        pool.timeout(7200).submit.timeout(1)(patient, 1800).result()
    except CallTimeout as error:
        print("limit:", error.seconds)

    # Twice between a method and its parentheses is a mistake; on a pool, a later one replaces an earlier one.
    try:
        pool.submit.timeout(1).timeout(2)
    except TypeError as error:
        print(error)
    print(pool.timeout(1).timeout(None).submit(pow, 2, 5).result())
