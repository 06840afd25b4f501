import contextlib
import io
import logging
import os
import subprocess
import sys

from ezflow import ProcessPoolExecutor

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout)


def work(number):
    print("print:", number)
    os.write(1, b"straight to the descriptor\n")
    subprocess.run([sys.executable, "-c", "print('a program of its own')"], check=True)
    logging.getLogger("work").info("about half of %d", number)
    logging.getLogger("work").debug("nobody asked for this")
    return number


def crash():
    print("last words")
    os.abort()


with ProcessPoolExecutor(1, output=True) as pool:
    pool.submit(work, 1).result()

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        pool.submit(work, 2).result()
    print("caught:", text.getvalue().splitlines())

    error = pool.submit(crash).exception()
    print(type(error).__name__, error.signal)
