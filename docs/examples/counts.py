from ezflow import ProcessPoolExecutor


def half(n):
    return 1 / n / 2


with ProcessPoolExecutor(2) as pool:
    results = list(pool.map.results()(half, [0, 1, 2, 4]))
    numbers = pool.statistics()

print("done", numbers.done, "failed", numbers.failed, "waiting", numbers.queued)
times = numbers.calls["half"]
print("timed", times.n, "and most took less than a second:", times.p95 < 1)
