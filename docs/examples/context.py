from contextvars import ContextVar

from ezflow import ProcessPoolExecutor

request = ContextVar("request", default="none")


def work():
    seen = request.get()
    request.set("changed in the worker")  # gone when the call ends
    return seen


with ProcessPoolExecutor(1) as pool:
    for number in (1, 2):
        request.set(f"request {number}")
        print(pool.submit(work).result())
    print(request.get())
