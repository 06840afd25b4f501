from ezflow import ProcessPoolExecutor


def inverse(number):
    return 1 / number


with ProcessPoolExecutor() as pool:
    futures = [pool.submit(inverse, number) for number in (4, 2, 0)]
    futures.append(pool.submit(lambda: "a lambda, and no __main__ guard"))
    for future in futures:
        error = future.exception()
        print(repr(error) if error else future.result())
