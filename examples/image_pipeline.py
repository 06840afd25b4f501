"""Count bright spots in frames that are made on the spot: arrays stream through a flow in shared memory.

    python examples/image_pipeline.py [FRAMES]

One branch finds the spots, another one measures how bright the frame is, and `Zip` joins what they found.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from ezflow import Batch, Flow, ProcessPoolExecutor, Zip

SHAPE = 540, 960
Frame = NDArray[np.uint8]


def frame(number: int) -> Frame:
    """Make a dark, noisy frame with as many spots as its number says."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, SHAPE, dtype=np.uint8)
    for i in range(number % 7):
        y, x = 40 + 60 * i, 50 + (37 * number + 110 * i) % 800
        image[y : y + 12, x : x + 12] = 250
    return image


def smooth(image: Frame) -> Frame:
    """Average over 3 by 3 points."""
    wide = np.pad(image, 1, mode="edge").astype(np.uint16)
    height, width = image.shape
    total = sum(wide[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return (total // 9).astype(np.uint8)


def spots(image: Frame) -> int:
    """Count connected bright areas: each begins in some row where the row above is dark."""
    bright = image > 120
    above = np.zeros_like(bright)
    above[1:] = bright[:-1]
    starts = bright & ~above
    left = np.zeros_like(starts)
    left[:, 1:] = starts[:, :-1]
    first_rows = (starts & ~left).any(axis=1)
    return int(np.count_nonzero(first_rows[1:] & ~first_rows[:-1]))


def mean(image: Frame) -> float:
    """Give the mean brightness."""
    return round(float(image.mean()), 1)


def row(batch: list[tuple[int, float]]) -> str:
    """Write a line for some frames."""
    return " ".join(f"{n}:{brightness}" for n, brightness in batch)


n_frames = int(sys.argv[1]) if len(sys.argv) > 1 else 21
flow = Flow(frame, smooth, Zip(spots, mean), Batch(7), row)
print(flow.picture())
with ProcessPoolExecutor() as pool:
    for line in flow.on(pool).stream(range(n_frames)):
        print(line)
