import time

from ezflow import ProcessPoolExecutor


def look_for_it():
    time.sleep(3600)


with ProcessPoolExecutor(1) as pool:
    future = pool.submit(look_for_it)
    text = ""
    while "in look_for_it" not in text:  # until the call has begun
        time.sleep(0.05)
        text = "".join(pool.stacks().values())
    print(text.splitlines()[0])
    print(text.splitlines()[-1].strip())
    future.cancel()
