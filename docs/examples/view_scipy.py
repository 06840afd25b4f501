from scipy.optimize import differential_evolution

from ezflow import ProcessPoolExecutor


def cost(x):
    return (x[0] - 1) ** 2 + (x[1] + 2) ** 2


with ProcessPoolExecutor(2) as pool:
    best = differential_evolution(
        cost, [(-5, 5), (-5, 5)], workers=pool.timeout(60).map, updating="deferred", rng=1
    )
print([round(float(number), 3) for number in best.x])
