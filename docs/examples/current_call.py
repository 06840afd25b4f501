from ezflow import ProcessPoolExecutor, current_call


def describe(item):
    call = current_call()
    return call.index, call.attempt, call.name, call.deadline is not None


def train(rounds):
    for done in range(rounds):
        current_call().report(f"{done + 1} of {rounds}")
    return "trained"


with ProcessPoolExecutor(2) as pool:
    print(list(pool.map.named("describe").timeout(60)(describe, "ab")))

    future = pool.submit(train, 3)
    print(future.result(), "after", future.progress())

try:
    current_call()
except RuntimeError as error:
    print(error)
