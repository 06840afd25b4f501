import sys

from ezflow import ProcessPoolExecutor


def area(side):
    if side < 0:
        raise ValueError(f"a side of {side} m")
    return side * side


with ProcessPoolExecutor(2) as pool:
    # For the page, lines on standard output; in a terminal or a notebook .progress("areas") is enough.
    areas = pool.map.results().progress("areas", always=True, file=sys.stdout)
    for result in areas(area, [3, -1, 4]):
        print(result.unwrap_or("no area"))
