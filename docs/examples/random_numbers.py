import random

from ezflow import ProcessPoolExecutor, current_call


def roll(_):
    return random.randint(1, 6)


def own_generator(_):
    generator = random.Random(
        str(current_call().seed)
    )  # with NumPy: numpy.random.default_rng(current_call().seed)
    return current_call().seed, generator.randint(1, 6)


for workers in (1, 4):
    with ProcessPoolExecutor(workers, seed=2024) as pool:
        print(workers, "workers:", *pool.map(roll, range(12)))

with ProcessPoolExecutor(2, seed=2024) as pool:
    print(*pool.map(own_generator, range(3)))
