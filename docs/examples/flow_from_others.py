"""The right-hand sides of the tables for those who come from other pipelines."""

from ezflow import (
    As,
    Batch,
    Broadcast,
    Filter,
    Flow,
    Iter,
    Map,
    Parallel,
    ProcessPoolExecutor,
    Read,
    Route,
    Tap,
    To,
    Unbatch,
    Window,
    Write,
    Zip,
    task,
)


def inc(x):
    return x + 1


def double(x):
    return 2 * x


def is_even(x):
    return x % 2 == 0


def vip_or_not(x):
    return To("vip", x) if x > 2 else To("other", x)


def add(x, y):
    return x + y


def total(batch):
    return sum(batch)


xs = [1, 2, 3, 4]

with ProcessPoolExecutor(2) as pool:
    # pypeln
    print(list(Flow(As(2, inc)).on(pool).stream(xs)))
    print(list(Flow(inc, Filter(is_even)).on(pool).stream(xs)))
    print(list(Flow(Unbatch(), inc).on(pool).stream([xs])))
    print(sorted(Flow(inc).on(pool).unordered().stream(xs)))
    print(list(Flow(inc).on("thread").stream(xs)))
    print(list(Flow(inc).on(pool).max_pending(10).stream(xs)))
    # pyper
    print(list(Flow(inc, As(2, double)).on(pool).stream(xs)))
    print(list(Flow(Map(add, 10)).on(pool).stream(xs)))
    print(list(Flow(Iter(xs), inc).on(pool)))
    # streamz
    print(list(Flow(Window(2)).on(pool).stream(xs)))
    print(list(Flow(Batch(2), total).on(pool).stream(xs)))
    print(list(Flow(Zip(inc, double)).on(pool).stream(xs)))
    print(list(Flow(Broadcast(inc, double)).on(pool).stream(xs)))
    Flow(inc, Tap(print)).on(pool).run(xs)
    # minigun
    print(list(Flow(Parallel(inc, double)).on(pool).stream(xs)))
    print(list(Flow(vip_or_not, Route(To, {"vip": double, "other": inc})).on(pool).stream(xs)))
    print(list(Flow(task(inc).retry(3).timeout(60)).on(pool).stream(xs)))
    Flow(inc, Write("out.txt")).on(pool).run(xs)
    print(list(Flow(Read("out.txt"), int).on(pool)))
