import itertools

from ezflow import ProcessPoolExecutor


def primes():
    try:
        for number in itertools.count(2):
            if all(number % divisor for divisor in range(2, number)):
                yield number
    finally:
        pass  # close files here; this runs when the consumer stops


with ProcessPoolExecutor(1) as pool:
    with pool.submit.stream(buffersize=4)(primes) as stream:
        print(list(itertools.islice(stream, 8)))
    print(pool.submit(pow, 2, 5).result())  # the generator is closed, the worker free
