from ezflow import ProcessPoolExecutor

with ProcessPoolExecutor(2) as pool:
    squares = pool.map.background()(pow, range(5), [2] * 5)  # returns at once
    cubes = pool.map.background()(pow, range(5), [3] * 5)
    print(squares.result(), cubes.result())

    total = pool.map.background().results()(int, ["1", "two", "3"])
    print(sum(result.unwrap_or(0) for result in total.result()))
