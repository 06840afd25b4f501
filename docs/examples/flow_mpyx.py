"""What mpyx's own demonstration shows, line by line, as flows."""

from pathlib import Path

from ezflow import (
    As,
    Batch,
    By,
    Const,
    Filter,
    Flow,
    Iter,
    Map,
    Parallel,
    Print,
    ProcessPoolExecutor,
    Read,
    Seq,
    Serial,
    Stage,
    Tap,
    Zip,
    current_call,
)


class Add(Stage):
    """A stage with a state and a worker of its own."""

    def __init__(self, val=0):
        self.val = val

    def do(self, item):
        return item + self.val


class Tell(Stage):
    """A stage that also emits into a side stream."""

    def __init__(self, name):
        self.name = name

    def do(self, item):
        current_call().emit("logger", f"{self.name} gives {10 * item}")
        return 10 * item


class Fail(Stage):
    def do(self, item):
        raise ValueError(f"no {item}")


def src(n=5):
    return Iter(range(1, n + 1))


def add(n):
    """As a plain function, which is all that this needs."""
    return Map(lambda x: x + n)


def adder(x, y=10):
    return x + y


def demo(title, *stages):
    print(f"\n{title}")
    return list(Flow(*stages).on(pool))


with ProcessPoolExecutor(2) as pool:
    demo("Sanity", src(2), Print("serial"))
    demo("Const gives one value again and again", Const(0, 3), Add(1), Print())
    demo("A list, or Serial, is one stage after the other", Serial(src(2), Print("also serial")))
    demo("A tuple deals items out", src(4), (Print("A"), Print("B")))
    demo("A set copies them", src(2), {Print("A"), Print("B")})
    demo("Both nest", src(), Parallel([add(1000), add(1000)], [add(100), add(100)]), Print())
    demo("Two tuples in a row", src(), (add(1000), add(5000)), (add(100), add(500)), Print())
    demo("A function is a stage", src(2), adder, Print())
    demo("Map gives it arguments", src(2), Map(adder, 100), Map(lambda x: x - 50), Print())
    demo("Filter", src(), Filter(lambda x: x > 2), Print())
    demo("Batch", src(), Batch(2), Print())
    demo("As puts a stage into several workers", src(3), As(2, Add, 10), Print())
    demo("Order is kept, with Seq or without", src(3), Seq(As(2, Add, 10)), Print())
    demo("By copies an item to several of a kind", src(1), By(3, adder), Print())
    demo("Zip joins the copies", src(3), Zip(add(10), add(100)), Print())

    print("\nThe outputs are what you iterate")
    for item in Flow(src(), add(5)).on(pool):
        print("item:", item)
    print(list(Flow(src(), add(5)).on(pool)))

    print("\nA pile of pachinko")
    level = tuple(add(10**i) for i in range(5))
    print(Flow(Const(0, 5), *[level] * 8).on(pool).run().n_out)

    print("\nFiles are read and written")
    Path("LICENSE").write_text("free\nas the air\n")
    print(list(Flow(Read("LICENSE"), str.upper).on(pool)))

    print("\nCross-cutting: a side stream that every stage can emit to")
    logged = []
    flow = Flow(src(2), (Tell("one"), Tell("two"))).xcut("logger", Tap(logged.append))
    print(list(flow.on(pool)), sorted(logged))

    print("\nA flow in a flow")
    print(Flow(Flow(src(2)), Flow(adder)).picture())
    print(list(Flow(Flow(src(2)), Flow(adder)).on(pool)))

    print("\nErrors reach somebody")
    print(list(Flow(src(2), Fail()).on(pool).catch(lambda error: f"caught: {error}")))
    try:
        list(Flow(src(2), Fail()).on(pool))
    except ValueError as error:
        print("raised:", error)
