"""Estimate pi by throwing darts, with one random stream per batch.

    python examples/monte_carlo.py [BATCHES]

The seed of a batch is its number, so the answer is the same however many workers there are.
"""

from __future__ import annotations

import math
import random
import sys

from ezflow import ProcessPoolExecutor

DARTS = 50_000  # per batch


def hits(seed: int) -> int:
    """Count the darts of one batch that land inside the quarter circle."""
    uniform = random.Random(seed).random
    return sum(uniform() ** 2 + uniform() ** 2 <= 1 for _ in range(DARTS))


n_batches = int(sys.argv[1]) if len(sys.argv) > 1 else 20
with ProcessPoolExecutor() as pool:
    inside = sum(pool.map(hits, range(n_batches)))

n_darts = n_batches * DARTS
estimate = 4 * inside / n_darts
# standard error of a binomial share, times 4
spread = 4 * math.sqrt(inside * (n_darts - inside) / n_darts**3)
print(f"{n_darts:,} darts: pi is about {estimate:.4f} +- {spread:.4f}")
