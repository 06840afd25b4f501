import os
from concurrent.futures import ProcessPoolExecutor


def work(number):
    if number == 3:
        os._exit(1)  # what a crash in compiled code or a lack of memory looks like
    return number * number


def main():
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(work, number) for number in range(6)]
        for future in futures:
            error = future.exception()
            print(type(error).__name__ if error else future.result())


if __name__ == "__main__":
    main()
