import dask

from ezflow import ProcessPoolExecutor


@dask.delayed
def square(number):
    return number * number


with ProcessPoolExecutor(2) as pool:
    total = dask.delayed(sum)([square(number) for number in range(10)])
    print(total.compute(scheduler=pool.timeout(60)))
