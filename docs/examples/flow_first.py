from ezflow import Batch, Filter, Flow, ProcessPoolExecutor


def square(n):
    return n * n


def is_even(n):
    return n % 2 == 0


flow = Flow(square, Filter(is_even), Batch(3))
print(flow)
print(flow.picture())

with ProcessPoolExecutor(2) as pool:
    for batch in flow.on(pool).stream(range(12)):
        print(batch)

    outcome = flow.on(pool).run(range(100_000))
    print(outcome.n_in, outcome.n_out, outcome.n_dropped)
