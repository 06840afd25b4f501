# %% [markdown]
# # A notebook
# The cells of this script run in Jupyter, VS Code or as they stand: `python examples/notebook.py`.
# Functions, lambdas, closures and classes of a cell travel to the workers by value.
# No cell needs `if __name__ == "__main__"`, and none runs again in a worker.

# %%
from dataclasses import dataclass

from ezflow import ProcessPoolExecutor

pool = ProcessPoolExecutor(2)

# %% A class and a function, defined in a cell


@dataclass
class Reading:
    """One measurement."""

    sensor: str
    celsius: float


def fahrenheit(reading: Reading) -> Reading:
    """Convert one reading."""
    return Reading(reading.sensor, round(reading.celsius * 9 / 5 + 32, 1))


readings = [Reading("roof", 31.5), Reading("cellar", 12.0)]
for converted in pool.map(fahrenheit, readings):
    print(converted)

# %% A lambda that closes over a name of the notebook; a change is seen by the next call
offset = 10
print(list(pool.map(lambda number: number + offset, range(3))))
offset = 100
print(list(pool.map(lambda number: number + offset, range(3))))

# %% A crash costs one call; the pool and the notebook go on
import os  # noqa: E402  # imported where it is needed, as one does in a notebook

crash = pool.submit(os._exit, 3)
print(type(crash.exception()).__name__)
print(pool.submit(sum, [1, 2, 3]).result())

# %%
pool.shutdown()
