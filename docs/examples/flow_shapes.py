from ezflow import Broadcast, Flow, Parallel, ProcessPoolExecutor, Route, Zip


def inc(x):
    return x + 1


def ten(x):
    return 10 * x


def sign(x):
    return "odd" if x % 2 else "even"


def both(x):
    yield x
    yield -x


with ProcessPoolExecutor(2) as pool:

    def show(*stages):
        flow = Flow(*stages).on(pool)
        print(f"{', '.join(map(str, flow.stream([1, 2, 3, 4])))}")

    show(inc, ten)  # one after the other
    show((inc, ten))  # in turn
    show(Parallel(inc, ten, weights=[3, 1]))
    show({inc, ten})  # a copy to each
    show(Broadcast(ten, inc))  # the same, in this order
    show(Zip(inc, ten))  # a copy to each, one row
    show(Route(sign, {"odd": inc, "even": [ten, ten]}))
    show(both, inc)  # a generator gives any number
