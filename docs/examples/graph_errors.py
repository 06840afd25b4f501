from ezflow import EZ, ProcessPoolExecutor, task


def load(path):
    if path.startswith("bad"):
        raise FileNotFoundError(path)
    return [3, 1, 2]


def smallest(table):
    return min(table)


def largest(table):
    return max(table) // (len(table) - 3)


def pair(smallest, largest):
    return smallest, largest


graph = EZ(load, {smallest, largest}, pair)

with ProcessPoolExecutor(2) as pool:
    try:
        graph.on(pool)("data")
    except ZeroDivisionError as error:
        print(error, error.__notes__)

    run = graph.on(pool).submit("data")
    print(run["smallest"].result(), run.exception())

    patient = EZ(task(load).otherwise([0, 0, 0, 5]), {smallest, largest}, pair)
    print(patient.on(pool)("bad"))

    for path, result in zip(["data", "bad"], graph.on(pool).results().map(["data", "bad"]), strict=True):
        print(path, result)
