import itertools

from ezflow import ProcessPoolExecutor


def square(number):
    return number * number


with ProcessPoolExecutor(2) as pool:
    squares = pool.map(square, itertools.count(), buffersize=8)  # endless input, read 8 calls ahead
    print(list(itertools.takewhile(lambda value: value < 50, squares)))
    squares.close()  # what has not started is cancelled
