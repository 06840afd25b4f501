"""A graph is a value: shapes and their twins, cutting, names, equality, pickling, and no limit of size."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import cloudpickle
import pytest

from ezflow import EZ, B, Broadcast, Graph, P, Parallel, S, Serial, Task, Zip, each, pack, same, star, task
from tests import graphwork as work

a, b, inc, double, add = work.a, work.b, work.inc, work.double, work.add


def here(graph: Any, *args: Any, **kwargs: Any) -> Any:
    return graph.on("inline")(*args, **kwargs)


# ---------------------------------------------------------------- meaning


def test_a_list_chains_a_tuple_splits_a_set_copies() -> None:
    assert here(EZ([inc, double]), 3) == 8
    assert here(EZ((inc, double)), 3, 4) == (4, 8)
    assert here(EZ({inc, double}), 3) == {"double": 6, "inc": 4}
    assert here(EZ({"x": inc, "a": double}), 3) == {"x": 4, "a": 6}
    assert here(EZ(Zip(inc, double)), 3) == (4, 6)
    assert here(EZ((inc, double), {add, pack(max).named("most")}), 3, 4) == {"add": 12, "most": 8}


def test_example_of_the_card() -> None:
    assert here(EZ(work.load, {work.mean, work.std}, work.report), "data.csv") == "mean 3.66667, std 7"


def test_arguments_flow_as_a_call_is_written() -> None:
    assert here(EZ(a), 1, 2, k=3) == ["a", [1, 2], {"k": 3}]
    assert here(EZ({a, b}), 1, k=3) == {"a": ["a", [1], {"k": 3}], "b": ["b", [1], {"k": 3}]}
    assert here(EZ({"x": inc, "y": inc}, a), 1) == ["a", [], {"x": 2, "y": 2}]
    assert here(EZ(Zip(inc, inc), {a, b}), 1)["b"] == ["b", [2, 2], {}]
    assert here(EZ(work.two, (same, a)), 1)[0] == "two"
    assert here(EZ((inc, [(inc, inc), add])), 1, (2, 3)) == (2, 7)
    assert here(EZ((inc, (inc, inc))), 1, (2, 3)) == (2, (3, 4))


def test_graph_with_options_gets_the_call_as_it_is() -> None:
    assert here(EZ((inc,), EZ(same).retry(1)), 1) == here(EZ((inc,), same), 1) == (2,)
    assert here(EZ({"x": inc}, EZ(same).retry(1)), 1) == here(EZ({"x": inc}, same), 1) == {"x": 2}
    assert here(EZ(EZ({"t": (inc,)}).retry(1)), 1) == {"t": (2,)}
    assert here(EZ(EZ((inc, inc)).named("pair"), add), 1, 2) == 5
    assert here(EZ((inc, inc)).otherwise(0), 1, 2) == (2, 3)
    assert here(EZ(work.two, EZ((same, len)).retry(1)), 1) == ("two", 3)


def test_handler_is_asked_first_and_the_value_stands_for_its_failure() -> None:
    def also_bad(_: BaseException) -> None:
        raise KeyError

    for order in (("catch", "otherwise"), ("otherwise", "catch")):
        for handler, expected in ((work.say, "handled ValueError"), (also_bad, 5)):
            graph: Any = task(work.bad)
            for word in order:
                graph = getattr(graph, word)(handler if word == "catch" else 5)
            assert here(graph) == here(EZ(graph, same)) == expected


def test_branch_has_one_result() -> None:
    assert here(EZ({"t": (inc, inc), "s": Zip(add)}), 1, 2) == {"t": (2, 3), "s": (3,)}
    assert here(EZ({"pair": [Zip(inc, double)], "named": [{inc, double}]}), 1) == {
        "pair": (2, 2),
        "named": {"double": 2, "inc": 2},
    }
    assert here(EZ(Zip([inc, Zip(inc, double)], inc), a), 1) == ["a", [(3, 4), 2], {}]


def test_words_for_the_rest() -> None:
    assert here(star(add), (1, 2)) == 3
    assert here(star(add), {"x": 1, "y": 5}) == 6
    assert here(star(EZ((inc, inc), add)), [1, 2]) == 5
    assert here(EZ((inc, inc, inc), pack(sum)), 1, 2, 3) == 9
    assert here(EZ({inc, double}, pack(a)), 1) == ["a", [{"double": 2, "inc": 2}], {}]
    assert here(EZ({"was": same, "is": inc}), 1) == {"was": 1, "is": 2}
    assert here(EZ(work.numbers, each(inc), sum), 4) == 10
    assert here(EZ(work.numbers, each([inc, {inc, double}, pack(len)])), 2) == [2, 2]
    assert here(each(each(inc)), [[1], [2, 3], []]) == [[2], [3, 4], []]


def test_anything_callable_is_a_stage() -> None:
    counter = work.Counter(10)

    assert here(EZ(counter.plus, counter, int, str, "builtins.len"), 1) == 2
    assert here(EZ(work.soon, len), 1) == 3
    assert here(EZ(work.items, len), 1) == 2
    assert here(EZ("os.path:join"), "a", "b") == "a/b"


def test_what_does_not_fit_when_it_is_called() -> None:
    with pytest.raises(
        TypeError, match=r"begins with a tuple of 2 branches.*but got 1 positional argument\."
    ):
        here(EZ((inc, inc)), 1)
    with pytest.raises(TypeError, match=r"got 2 positional arguments and the keyword 'k'"):
        here(EZ((inc, inc)), 1, 2, k=3)
    with pytest.raises(
        TypeError, match=r"In stage 2: a tuple of 2 branches splits.*but one int \(2\) came.*Zip"
    ):
        here(EZ(inc, (inc, inc)), 1)
    with pytest.raises(TypeError, match=r"a list of length 9.*came"):
        here(EZ(work.numbers, (inc, inc)), 9)
    with pytest.raises(
        TypeError, match=r"In stage 2: each\(\.\.\.\) takes a list or another iterable, but one int came"
    ):
        here(EZ(inc, each(inc)), 1)
    with pytest.raises(TypeError, match="`same` cannot pass on positional and keyword arguments together"):
        here(EZ({"x": same}), 1, k=2)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        here(EZ("no_such_module.function"))


# ---------------------------------------------------------------- twins, cutting, names


def test_twins_are_equal_to_literals() -> None:
    assert S is Serial and P is Parallel and B is Broadcast
    assert Serial(inc, double) == EZ([inc, double]) == EZ(inc, double)
    assert EZ(P([inc], [double])) == EZ(([inc], [double])) == Parallel(inc, double)
    assert Broadcast(double, inc) == EZ({inc, double})
    assert Broadcast(inc, double) != EZ({inc, double})  # the written order
    assert Broadcast(x=inc, y=double) == EZ({"x": inc, "y": double})
    assert here(EZ({inc, S(inc, double).named("more")}), 1) == {"inc": 2, "more": 4}
    assert here(EZ(B(x=inc, y=inc)), 1) == {"x": 2, "y": 2}


def test_cutting_changes_nothing() -> None:
    whole = EZ(a, b, (a, b), a)

    for cut in (EZ([a, b], (a, b), a), EZ(EZ(a, b), (a, b), a), EZ(EZ(EZ(a), EZ([b], P(a, b))), [[a]])):
        assert cut == whole
        assert hash(cut) == hash(whole)
        assert repr(cut) == repr(whole)


def test_names_come_from_the_definition() -> None:
    other_name = inc

    assert list(here(EZ({other_name}), 1)) == ["inc"]
    assert list(here(EZ({task(inc).named("more")}), 1)) == ["more"]
    assert list(here(EZ({work.Counter(1).plus, str}), 1)) == ["plus", "str"]
    assert list(here(EZ({EZ(inc, double).named("both")}), 1)) == ["both"]
    assert list(here(EZ({"z": inc, "a": inc}), 1)) == ["z", "a"]
    assert list(here(EZ({"builtins.str", "builtins.repr"}), 1)) == ["repr", "str"]


@pytest.mark.dealt
def test_order_of_a_set_does_not_depend_on_hashes() -> None:
    program = """
from tests import graphwork as work
from ezflow import EZ
print(list(EZ({work.a, work.b, work.pid, work.two, work.three, work.mapping}).on("inline")(1)),
      EZ({work.a, work.b, work.pid, work.two, work.three}))
"""
    seen = set()
    for seed in range(20):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        seen.add(done.stdout)

    assert len(seen) == 1
    assert "['a', 'b', 'mapping', 'pid', 'three', 'two']" in seen.pop()


# ---------------------------------------------------------------- a value


def test_repr_shows_the_literal() -> None:
    assert repr(EZ((a, b), {add, work.two})) == "EZ((a, b), {add, two})"
    assert repr(EZ({"x": inc}, Zip(a), each(inc))) == "EZ({'x': inc}, Zip(a), each(inc))"
    assert repr(EZ((a,), [b, same])) == "EZ((a,), b, same)"
    assert repr(EZ(a, task(b).timeout(3).retry(2))) == "EZ(a, task(b).retry(2).timeout(3.0))"
    assert repr(EZ(a, EZ(b, a).within(3))) == "EZ(a, EZ([b, a]).within(3.0))"
    assert repr(EZ(a, b).retry(2)) == "EZ(a, b).retry(2)"
    assert repr(EZ(star(add), pack(sum))) == "EZ(star(add), pack(sum))"
    assert len(repr(EZ(*[inc] * 10_000))) < 1000


def test_graph_cannot_be_changed() -> None:
    graph: Any = EZ(a, b)

    with pytest.raises(AttributeError, match="a graph cannot be changed"):
        graph.stages = 1
    with pytest.raises(AttributeError, match="a graph cannot be changed"):
        del graph._root
    assert graph.timeout(3) is not graph
    assert graph == EZ(a, b)


def test_replace_gives_another_graph() -> None:
    graph = EZ(work.load, {work.mean, work.std}, work.report)

    other = graph.replace("std", max).replace("2/mean", min)

    assert graph == EZ(work.load, {work.mean, work.std}, work.report)
    assert here(other, "data.csv") == "mean 1, std 8"
    with pytest.raises(KeyError, match="no stage"):
        graph.replace("median", max)
    with pytest.raises(KeyError, match="several stages are called 'a'"):
        EZ(a, b, a).replace("a", b)


@pytest.mark.parametrize("how", [pickle, cloudpickle, copy])
def test_graph_travels(how: Any) -> None:
    graph = EZ(
        (inc, work.Counter(3)), {"add": add, "max": task(max).retry(1)}, EZ(a, same).within(3), each(b)
    ).named("g")

    again = copy.deepcopy(graph) if how is copy else how.loads(how.dumps(graph))

    assert again == graph
    assert here(again.replace("4", a), 1, 2) == here(graph.replace("4", a), 1, 2)


def test_graph_of_one_stage_is_a_task_s_equal() -> None:
    assert EZ(task(inc).retry(2)) == task(inc).retry(2)
    assert EZ(inc) == task(inc)
    assert isinstance(task(inc), Graph) and isinstance(task(inc), Task)
    assert task(inc).fn is inc


@pytest.mark.dealt
def test_no_limit_of_size() -> None:
    n = 3000  # three times the limit of recursion
    chain = EZ(*[inc] * n)
    assert here(chain, 0) == n
    wide = EZ(Broadcast(**{f"b{i}": inc for i in range(n)}))
    assert len(here(wide, 0)) == n
    grown: Any = EZ(inc)
    for _ in range(n):
        grown = EZ(grown, inc)
    assert grown == EZ(chain, inc)
    assert pickle.loads(pickle.dumps(grown)) == grown
    deep: Any = inc
    n = 1500  # above the limit of recursion
    for i in range(n):
        deep = {"deep": deep} if i % 2 else [same, deep]
    deep = EZ(deep)
    assert pickle.loads(pickle.dumps(deep)) == deep
    assert hash(deep)
    value = here(deep, 0)
    for _ in range(n // 2):
        (value,) = value.values()
    assert value == 1


def test_signature_is_that_of_the_first_stage() -> None:
    import inspect

    assert list(inspect.signature(EZ(work.add, inc)).parameters) == ["x", "y"]
    assert list(inspect.signature(task(work.add)).parameters) == ["x", "y"]
