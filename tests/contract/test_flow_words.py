"""One public word for graphs and flows; where things go: in turn, to whoever is free, by weight, by key, by their own word."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ezflow
from ezflow import (
    EZ,
    As,
    Batch,
    Broadcast,
    By,
    Failure,
    Filter,
    Flow,
    GraphError,
    Iter,
    Map,
    Parallel,
    PicklingError,
    ProcessPoolExecutor,
    Rebatch,
    Route,
    Seq,
    Serial,
    Stage,
    Tap,
    To,
    Unbatch,
    Window,
    Zip,
    same,
    task,
)
from tests import flowwork as work
from tests.contract.flows import pool_of_one_kind  # noqa: F401  # the fixture `pool`

pytestmark = pytest.mark.dealt

LIMIT = 60.0
LOCK = threading.Lock()


# ---------------------------------------------------------------- twins


def test_one_word_is_a_graph_alone_and_a_shape_in_a_flow() -> None:
    zipped, dealt = Zip(work.inc, work.double), Parallel(work.inc, work.double)
    copied, chained = Broadcast(work.inc, work.double), Serial(work.inc, work.two)

    assert [EZ(one).on("inline")(3) for one in (zipped, copied)] == [(4, 6), {"inc": 4, "double": 6}]
    assert dealt.on("inline")(3, 4) == (4, 8)
    assert flowed(zipped, 3, 4) == [(4, 6), (5, 8)]
    assert flowed(dealt, 3, 4) == [4, 8]
    assert flowed(copied, 3, 4) == [4, 6, 5, 8]
    assert flowed(chained, 3) == [4, ("again", 4)]
    assert flowed(EZ(copied), 3) == [{"inc": 4, "double": 6}]
    assert repr(Flow(dealt, chained)) == "Flow(Parallel(inc, double), Serial(inc, two))"


def flowed(stage: Any, *items: Any) -> list[Any]:
    return list(Flow(stage).on("inline").stream(items))


def test_what_only_a_flow_understands_is_no_graph() -> None:
    twice = Broadcast(work.inc, lambda x: x, work.inc)
    filtered = Zip(Filter(work.odd), Serial((work.inc, work.double), work.shown))

    assert flowed(twice, 3) == [4, 3, 4]
    assert flowed(filtered, 3) == [(3, "<4>")]
    for stage in (twice, filtered, Parallel(work.inc, work.double, weights=(2, 1))):
        for use in (EZ, lambda one: one(3), lambda one: one.submit(3), lambda one: EZ(work.inc, {"x": one})):
            with pytest.raises(GraphError):
                use(stage)


@pytest.mark.parametrize(
    "stage",
    [Filter(work.odd), Batch(3), Iter([1]), Tap(print), Flow(work.inc), work.BadSetup(), Zip(Batch(3))],
)
def test_stage_of_flows_in_a_graph_is_an_error_when_it_is_built(stage: Any) -> None:
    for shape in (stage, [work.inc, stage], (stage,), {"x": stage}):
        with pytest.raises(GraphError, match=r"is a stage of flows.*Put it into Flow"):
            EZ(shape)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Zip, "empty"),
        (lambda: Zip(work.inc, 5), "5"),
        (lambda: Serial(Batch(2), {"x": work.inc}), "dict is no stage"),
        (lambda: Flow(Broadcast(x=work.inc)), "no names"),
        (lambda: Flow(EZ((work.inc, work.double))), "takes 2 arguments"),
    ],
)
def test_what_neither_understands_is_an_error_at_once(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        make()


def test_every_keyword_reaches_the_function() -> None:
    def row(x: int, fn: int = 0, n: int = 0) -> tuple[int, int, int]:
        return x, fn, n

    for make in (
        Map,
        lambda *args, **words: As(2, *args, **words),
        lambda *args, **words: By(1, *args, **words),
    ):
        assert flowed(make(row, fn=3, n=4), 1) == [(1, 3, 4)]
    assert flowed(Filter(lambda x, fn: x == fn, fn=2), 1, 2) == [2]


@pytest.mark.parametrize("word", [As, By])
@pytest.mark.parametrize("stage", [work.Passing(), Map(work.inc), Flow(work.inc), 5])
def test_arguments_of_what_takes_none_are_an_error(word: Any, stage: Any) -> None:
    for args, words in (((10,), {}), ((), {"y": 10})):
        with pytest.raises(TypeError, match=rf"{word.__name__}\(n, fn, \.\.\.\) gives .* takes none"):
            word(2, stage, *args, **words)


def test_stage_is_shown_without_its_address() -> None:
    assert repr(Flow(work.Passing(), As(2, work.Passing()))) == "Flow(Passing(...), As(2, Passing(...)))"


def test_twins_travel_as_they_were_written() -> None:
    flow = Flow(Zip(work.inc, work.double), Broadcast(work.shown, work.shown))
    graph = Zip(work.inc, work.double)

    assert list(pickle.loads(pickle.dumps(flow)).on("inline").stream([1])) == ["<(2, 2)>"] * 2
    assert pickle.loads(pickle.dumps(graph)) == graph == EZ(graph)


def test_flow_reads_as_it_was_written() -> None:
    flow = (
        Flow(work.inc, (work.inc, Batch(2))).xcut("db", work.inc, Batch(2)).xcut("log", len).on_start(print)
    )

    assert repr(flow.catch(work.shown).unordered().max_pending(3)) == (
        "Flow(inc, (inc, Batch(2))).xcut('db', inc, Batch(2)).xcut('log', len).on_start(print)"
        ".catch(shown).unordered().max_pending(3)"
    )
    assert repr(pickle.loads(pickle.dumps(flow))) == repr(flow)
    assert repr(Flow(work.inc).on(ThreadPoolExecutor(1))) == "Flow(inc).on(ThreadPoolExecutor)"
    limited = "Flow(Const(0, limit=3), Batch(2, max_wait=0.5))"
    assert repr(Flow(ezflow.Const(0, limit=3), Batch(2, max_wait=0.5))) == limited


def test_words_of_flows_are_public() -> None:
    assert {"Flow", "Stage", "DROP", "Map", "Filter", "Route"} <= set(ezflow.__all__)
    assert list(Flow(Iter([1, 2]), ezflow.Map(pow, 2), Batch(2)).on("inline")) == [[1, 4]]
    assert issubclass(work.Counting, Stage)


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        (work.inc, r"\(inc\) was not sent: an argument at items\[0\]\[0\] cannot"),
        (Map(work.two).stream(), r"\(two\) was not sent: an argument at items\[0\] cannot"),
        (Map(work.inc).with_env(A="1"), r"\(inc\) was not sent: an argument at items\[0\]\[0\] cannot"),
        (work.Passing(), r"\(Passing\) was not sent: an argument at items\[0\]\[0\] cannot"),
        (Map(work.inc, LOCK), r"\(inc\) was not sent: the function at fn\.args\[0\] cannot"),
    ],
)
def test_what_cannot_be_sent_is_said_with_stage_and_place(
    pool: ProcessPoolExecutor, stage: Any, place: str
) -> None:
    item = [1] if "fn" in place else [LOCK]

    with pytest.raises(PicklingError, match=rf"flow stage 1 {place}"):
        list(Flow(stage).on(pool).stream([item]))


def test_twins_run_on_a_pool(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Parallel(work.inc, Serial(work.double, work.inc)), Zip(work.shown, work.listed))

    assert list(flow.on(pool).stream([1, 2])) == [("<2>", [2]), ("<5>", [5])]


# ---------------------------------------------------------------- where items go


def test_items_go_to_whichever_branch_is_free(pool: ProcessPoolExecutor, tmp_path: Any) -> None:
    """One branch waits until the other has worked off all the rest, which in turn it never could."""
    gate = tmp_path / "gate"
    stuck = Serial(work.StuckUntil(str(gate)), lambda x: ("slow", x))
    quick = Serial(Tap(lambda x: gate.touch() if x == 39 else None), lambda x: ("quick", x))

    outs = list(Flow(Parallel(stuck, quick, balance="free")).on(pool).stream(range(40)))

    assert [x for _, x in outs] == list(range(40))
    assert [who for who, _ in outs].count("slow") < 10


def test_free_branches_hold_no_more_than_they_work_on() -> None:
    flow = Flow(Parallel(work.inc, [Batch(3), len], balance="free"), Batch(2)).on("inline")

    outs = list(flow.results().stream(range(200)))

    assert all(outs)


def test_weights_say_how_many_of_a_round(pool: ProcessPoolExecutor) -> None:
    flow = Flow(Parallel(lambda x: "a", lambda x: "b", weights=(3, 1))).on(pool)

    outs = list(flow.stream(range(400)))

    assert (outs.count("a"), outs.count("b")) == (300, 100)
    assert list(flow.stream(range(400))) == outs


@pytest.mark.parametrize("keyed", [True, False])
def test_key_without_a_branch_is_an_error_unless_there_is_a_default(
    pool: ProcessPoolExecutor, keyed: bool
) -> None:
    branches = {0: work.shown, 1: [Batch(1)] if keyed else work.listed}
    with pytest.raises(LookupError, match="no route for the key 2; there are 0, 1"):
        list(Flow(Route(lambda x: x, branches)).on(pool).stream([0, 1, 2]))

    assert list(Flow(Route(lambda x: x, branches, default=work.inc)).on(pool).stream([0, 1, 2])) == [
        "<0>",
        [1],
        3,
    ]


@pytest.mark.parametrize("between", [[], [work.Passing()], [Batch(1), ezflow.Unbatch()]])
@pytest.mark.parametrize("vip", [work.shown, [Batch(1), ezflow.Unbatch(), work.shown]])
def test_item_says_where_it_goes(pool: ProcessPoolExecutor, between: list[Any], vip: Any) -> None:
    routed = Flow(*between, work.vip_if_odd, Route(To, {"vip": vip}, default=work.inc)).on(pool)
    keyed = Flow(*between, work.vip_if_odd, Route(lambda x: "even", {"vip": vip, "even": work.inc})).on(pool)

    for flow in (routed, keyed):
        assert list(flow.stream([1, 2, 3])) == ["<1>", 3, "<3>"]


@pytest.mark.parametrize("shape", [tuple, lambda parts: Parallel(*parts, balance="free")])
def test_item_goes_to_the_branch_that_it_names(pool: ProcessPoolExecutor, shape: Any) -> None:
    def to_double(x: int) -> Any:
        return To("double", x)

    for double in (work.double, As(1, work.double), task(lambda x: 2 * x).named("double")):
        flow = Flow(to_double, shape([work.inc, double])).on(pool)

        assert list(flow.stream([1, 2, 3])) == [2, 4, 6]
    with pytest.raises(LookupError, match=r"no branch 'double'.*'inc'"):
        list(Flow(to_double, shape([work.inc, [work.inc, work.double]])).on(pool).stream([1]))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Flow(To("vip"), Route(To, {"std": work.inc})), "no such branch. There are 'std'"),
        (lambda: Flow(To("vip"), (work.inc, work.double)), "There are 'inc', 'double'"),
        (lambda: Flow(To("vip"), work.inc), "next stage has no branches"),
        (lambda: Flow(work.inc, To("vip")), "next stage has no branches"),
        (lambda: Flow(work.inc, (To("vip", 1), work.inc)), "is an item"),
    ],
)
def test_unknown_target_is_an_error_when_it_is_built(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        make()


@pytest.mark.parametrize(
    "after", [(), (work.inc,), (Batch(2),), ((work.inc, work.double),), (Route(To, {"vip": [Batch(1)]}),)]
)
def test_unknown_target_is_an_error_when_it_comes(pool: ProcessPoolExecutor, after: tuple[Any, ...]) -> None:
    flow = Flow(work.to_nowhere, *after).on(pool)

    with pytest.raises(LookupError, match="nowhere"):
        list(flow.stream([1]))
    (out,) = flow.results().stream([1])
    assert isinstance(out.err, LookupError)


def test_stage_that_sends_all_items_to_one_branch(pool: ProcessPoolExecutor) -> None:
    flow = Flow((To("double"), To("inc")), Route(To, {"inc": work.inc, "double": work.double})).on(pool)

    assert list(flow.stream([1, 2, 3])) == [2, 3, 6]


def test_failure_says_what_it_came_of(pool: ProcessPoolExecutor) -> None:
    def bad(x: Any) -> Any:
        raise ValueError(x)

    flow = Flow(work.two, (work.inc_or_same, [Batch(2), bad]), Filter(lambda x: True)).on(pool).results()
    outcome = flow.run(range(4))

    assert {type(one) for one in outcome.failures} == {Failure}
    assert [(one.item, one.origin) for one in outcome.failures] == [
        ([("again", 0), ("again", 1)], [0, 1]),
        ([("again", 2), ("again", 3)], [2, 3]),
    ]
    batches = Flow(Batch(2), bad).on(pool).results().run(range(3))
    assert [one.origin for one in batches.failures] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("stages", "origins"),
    [
        ([work.shown, Batch(2)], [[0, 1], [2, 3]]),
        ([work.two, Batch(2)], [[0], [1], [2], [3]]),
        ([work.shown, Batch(4), len], [[0, 1, 2, 3]]),
        ([work.shown, Batch(2), len, Batch(2), len], [[0, 1, 2, 3]]),
        ([Batch(2), Unbatch()], [[0, 1], [0, 1], [2, 3], [2, 3]]),
        ([Batch(2), Unbatch(), Batch(4)], [[0, 1, 2, 3]]),
        ([work.inc, Batch(2), Rebatch(3)], [[0, 1, 2, 3], [2, 3]]),
        ([work.mark, Batch(2), Rebatch(3), len], [[0, 1, 2, 3], [2, 3]]),
        ([work.inc, Window(3)], [[0, 1, 2], [1, 2, 3]]),
        ([work.inc, Batch(3, max_wait=60)], [[0, 1, 2], [3]]),
        ([(work.inc, [work.inc, Batch(2)])], [0, 2, [1, 3]]),
        ([{work.shown, work.inc}, Seq()], [0, 0, 1, 1, 2, 2, 3, 3]),
        ([Broadcast(work.shown, [Batch(2), work.shown])], [0, 1, [0, 1], 2, 3, [2, 3]]),
        ([Route(work.is_even, {True: [Batch(2), len], False: work.inc})], [1, [0, 2], 3]),
        ([Parallel([work.inc, Batch(2)], balance="free")], [[0, 1], [2, 3]]),
        ([Map(work.two).stream()], [0, 0, 1, 1, 2, 2, 3, 3]),
        ([work.listed, Zip(work.shown, work.shown), work.shown], [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("on", ["pool", "inline"])
def test_dead_letters_are_items_of_the_source(
    pool: ProcessPoolExecutor, stages: list[Any], origins: list[Any], on: str
) -> None:
    def bad(x: Any) -> Any:
        raise ValueError(x)

    outcome = Flow(*stages, bad, work.inc).on(pool if on == "pool" else on).results().run(range(4))

    assert [one.origin for one in outcome.failures] == origins


@pytest.mark.parametrize(
    ("n", "kind"), [(None, TypeError), (1.5, TypeError), (True, TypeError), (0, ValueError), (-1, ValueError)]
)
def test_max_pending_takes_whole_numbers_from_one_on(n: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="max_pending takes"):
        Flow(work.inc).max_pending(n)


def test_generator_that_a_run_has_begun_is_no_source_of_another_one(pool: ProcessPoolExecutor) -> None:
    numbers = (number for number in range(3))
    assert list(Flow(work.inc).on(pool).stream(numbers)) == [1, 2, 3]

    with pytest.raises(RuntimeError, match="once only"):
        Flow(work.double).on(pool).run(numbers)


def test_async_generator_is_run_once() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def twice() -> list[int]:
        flow = Flow(Iter(numbers()), work.inc).on("inline")
        found = [out async for out in flow]
        with pytest.raises(RuntimeError, match="once only"):
            aiter(flow)
        return found

    assert asyncio.run(twice()) == [2]


def test_same_is_a_stage_of_flows() -> None:
    flow = Flow({work.inc, same}, Zip(same, work.inc), same)

    assert list(flow.on("inline").stream([1])) == [(2, 3), (1, 2)]
    assert repr(flow) == "Flow({inc, same}, Zip(same, inc), same)"


def test_order_can_be_given_up_by_a_keyword() -> None:
    assert repr(Flow(work.inc, ordered=False)) == repr(Flow(work.inc).unordered())


@pytest.mark.parametrize(
    ("stages", "most"),
    [
        ((Map(work.inc),), 3),
        ((work.inc, Map(work.double).on("thread"), As(2, work.inc)), 3),
        ((work.two, Batch(2)), 3),
        ((Batch(4), Unbatch()), 3 + 4),
    ],
    ids=["first", "later", "many", "batch"],
)
def test_no_more_items_pile_up_before_a_stage_than_it_allows(
    pool: ProcessPoolExecutor, stages: tuple[Any, ...], most: int
) -> None:
    behind: list[Any] = []
    ahead: list[int] = []

    def source() -> Iterator[int]:
        for number in range(40):
            ahead.append(number - len(behind))
            yield number

    def here(x: Any) -> Any:
        behind.append(x)
        return x

    flow = Flow(*stages, Map(here).on("inline").max_pending(3), work.same)
    assert flow.on(pool).run(source()).n_out == 40
    assert max(ahead) <= most


def test_bound_of_a_stage_that_cannot_be_kept_is_a_mistake(pool: ProcessPoolExecutor) -> None:
    assert repr(Map(work.inc).max_pending(3)) == "Map(inc).max_pending(3)"
    with pytest.raises(GraphError, match="in a branch"):
        Flow((work.inc, Map(work.inc).max_pending(3))).on(pool).run([1])
    with pytest.raises(ValueError, match="max_pending takes"):
        Map(work.inc).max_pending(0)


def test_function_that_stands_three_times_in_a_tuple_runs_three_times_at_once_at_most() -> None:
    flow = Flow((work.inc, work.inc, work.inc), (work.inc, work.double), work.double).on("inline")

    with flow.stream([1, 2]) as stream:
        assert [row.name for row in stream.statistics().stages] == [
            "1 (As(3, inc))",
            "2 (tuple) to 3 (double)",
        ]
        assert list(stream) == [6, 12]
    assert repr(flow).startswith("Flow((inc, inc, inc), (inc, double), double)")
