import os
import signal

from ezflow import ProcessPoolExecutor, WorkerDied


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


with ProcessPoolExecutor(1) as pool:
    victim = pool.submit(killed)
    innocent = [pool.submit(abs, -number) for number in range(3)]  # queued behind it
    try:
        victim.result()
    except WorkerDied as error:
        print(error.signal, error.exitcode, error.call)
    print([future.result() for future in innocent])
