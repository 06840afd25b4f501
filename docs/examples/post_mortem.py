import traceback

from ezflow import ProcessPoolExecutor


def outer(row):
    return inner(row["price"], row["count"])


def inner(price, count):
    return price / count


with ProcessPoolExecutor(1) as pool:
    error = pool.submit(outer, {"price": 3, "count": 0}).exception()

frames = traceback.extract_tb(error.__traceback__)
for frame in frames[-2:]:
    print(f"{frame.name}: {frame.line}")
print(repr(error))
# In a terminal, go there: import pdb; pdb.post_mortem(error.__traceback__)
