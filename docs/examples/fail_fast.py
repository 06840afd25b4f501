from ezflow import ProcessPoolExecutor


def inverse(number):
    return 1 / number


numbers = [1, 2, 0, 4, 0]
with ProcessPoolExecutor(2) as pool:
    # As in the standard library: results in order, up to the first error.
    try:
        for value in pool.map(inverse, numbers):
            print(value)
    except ZeroDivisionError:
        print("stopped at the first error in order")

    # Fail fast: the first error of all ends it, and cancels what has not started.
    print(repr(pool.map.background()(inverse, numbers).exception()))

    # Collect everything: one envelope for each input.
    results = list(pool.map.results()(inverse, numbers))
    print([result.ok for result in results if result])
    print([result.index for result in results if not result])

    errors = [result.err for result in results if result.err]
    try:
        raise ExceptionGroup(f"{len(errors)} of {len(results)} failed", errors)
    except* ZeroDivisionError as group:
        print(group)
