"""What is wrong with a graph is said when it is written: where, what, and how to mend it.  One test per message."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from ezflow import EZ, Broadcast, GraphError, Parallel, Serial, Zip, each, pack, same, star, task
from tests import graphwork as work


def resize(image: Any, scale: float) -> Any: ...


def only_positional(a: Any, /, b: Any = 1) -> Any: ...


def with_keyword(a: Any, *, key: Any) -> Any: ...


def loop() -> list[Any]:
    stages: list[Any] = [work.a]
    stages.append(stages)
    return stages


WRONG = {
    "too few inputs": (
        lambda: EZ(work.load, resize),
        r"In stage 2: resize\(image, scale\) needs 2 inputs, but load\(path\) gives 1\..*partial\(resize",
    ),
    "too many inputs": (
        lambda: EZ((work.load, work.load), work.mean),
        r"In stage 2: mean\(table\) takes at most 1 input, but the tuple before gives 2\..*pack\(mean\)",
    ),
    "no inputs at all": (
        lambda: EZ(work.load, lambda: 1),
        r"In stage 2: lambda\(\) takes 0 inputs, but load\(path\) gives 1",
    ),
    "keyword needed": (
        lambda: EZ(work.load, with_keyword),
        r"In stage 2: with_keyword\(a, key\) needs 'key' by name, but load\(path\) gives 1",
    ),
    "in a branch": (
        lambda: EZ(work.load, {"m": work.mean, "r": resize}),
        r"In stage 2/r: resize\(image, scale\) needs 2 inputs",
    ),
    "in a chain in a branch": (
        lambda: EZ({"m": [work.load, work.mean, (work.a, work.b), work.mean]}),
        r"In stage 1/m/4: mean\(table\) takes at most 1 input, but the tuple before gives 2",
    ),
    "pack gives one": (
        lambda: EZ((work.a, work.b), pack(work.add)),
        r"In stage 2: add\(x, y\) needs 2 inputs, but pack gives 1",
    ),
    "name that no parameter has": (
        lambda: EZ(work.load, {work.mean, work.std}, work.add),
        (
            r"In stage 3: add\(x, y\) has no parameters 'mean' and 'std' and gets nothing for its parameters 'x' and 'y',"
            r" but the set before gives 'mean' and 'std'\. Label the branch: \{'x': mean\}"
        ),
    ),
    "surplus name": (
        lambda: EZ(work.load, {work.mean, work.std, work.inc}, work.report),
        r"In stage 3: report\(mean, std\) has no parameter 'inc'.*Rename the parameter, label the branch, or use Zip",
    ),
    "missing name": (
        lambda: EZ(work.load, {work.mean}, work.report),
        r"In stage 3: report\(mean, std\) gets nothing for its parameter 'std'.*Add a branch",
    ),
    "bare name into keywords": (
        lambda: EZ({work.mean, work.std}, work.take_all),
        r"In stage 2: take_all\(\*\*values\) has no parameters 'mean' and 'std', only \*\*keywords.*Label",
    ),
    "name for a positional parameter": (
        lambda: EZ({"a": work.a, "b": work.b}, only_positional),
        r"In stage 2: only_positional\(a, b\) takes 'a' by position only.*Use Zip",
    ),
    "width": (
        lambda: EZ((work.a, work.b), (work.a, work.b, work.a)),
        r"In stage 2: a tuple of 3 branches takes 3 inputs, one each, but the tuple before gives 2\.",
    ),
    "names into a tuple": (
        lambda: EZ({work.mean, work.std}, (work.a, work.b)),
        r"In stage 2: a tuple deals its inputs out by position, but the set before gives 'mean' and 'std', by name\. Use Zip",
    ),
    "each of several": (
        lambda: EZ((work.a, work.b), each(work.a)),
        r"In stage 2: each\(\.\.\.\) takes one input, but the tuple before gives 2\.",
    ),
    "star of several": (
        lambda: EZ(Zip(work.a, work.b), star(work.a)),
        r"In stage 2: star\(a\) takes one input, but the Zip before gives 2\.",
    ),
    "star of names": (
        lambda: EZ({"a": work.a}, EZ(work.a, work.b).star()),
        r"In stage 2: \.star\(\) takes one input, but the set before gives 'a'",
    ),
    "empty tuple": (lambda: EZ(work.inc, ()), r"In stage 2: a tuple is empty\."),
    "empty list": (lambda: EZ(work.inc, (work.a, [])), r"In stage 2/2: a list is empty\."),
    "empty set": (lambda: EZ(work.inc, set()), r"In stage 2: a set is empty\."),
    "empty dict": (lambda: EZ(work.inc, {}), r"In stage 2: a dict is empty\."),
    "nothing": (EZ, r"In the graph: EZ\(\) is empty\."),
    "nothing in a twin": (Parallel, r"In the graph: Parallel\(\) is empty\."),
    "nothing to copy": (Broadcast, r"In the graph: Broadcast\(\) is empty\."),
    "nothing to zip": (Zip, r"In the graph: Zip\(\) is empty\."),
    "nothing in series": (Serial, r"In the graph: Serial\(\) is empty\."),
    "no stage": (lambda: EZ(work.inc, 5), r"In stage 2: 5 \(of type int\) cannot be called\. A stage is"),
    "no parentheses": (
        lambda: EZ(range, each),
        r"In stage 2: each is a word that makes a stage\. Write it with parentheses: each\(\.\.\.\)",
    ),
    "a text that names nothing": (
        lambda: EZ(work.inc, "mean"),
        r"In stage 2: 'mean' \(of type str\) cannot be called\. A text is a stage if it names a function with its module",
    ),
    "a coroutine": (
        lambda: EZ(work.inc, coroutine()),
        r"In stage 2: soon\(\.\.\.\) was called, and its coroutine object is no stage\. Write the function itself",
    ),
    "inside itself": (lambda: EZ(loop()), r"In stage 1/2: this list or dict holds itself"),
    "label that is no text": (lambda: EZ({1: work.a}), r"In stage 1: the label 1 is not a text\."),
    "label with a slash": (
        lambda: EZ({"a/b": work.a}),
        r"In stage 1: the label 'a/b' is empty or has a '/' in it",
    ),
    "lambda in a set": (
        lambda: EZ({work.mean, lambda x: x}),
        r"In stage 1: lambda has no name of its own, and the results of a set are told apart by name\. Label it",
    ),
    "partial in a set": (
        lambda: EZ({functools.partial(work.add, 1)}),
        r"In stage 1: partial\(add\) has no name of its own.*Broadcast\(label=partial\(add\)\)",
    ),
    "nested shape in a set": (
        lambda: EZ({(work.a, work.b), work.a}),
        r"In stage 1: \(a, b\) is no function, so it has no name.*Label it",
    ),
    "two of one name": (
        lambda: EZ({work.a, task(work.b).named("a")}),
        r"In stage 1: two branches of this set are called 'a'\. Label them",
    ),
    "background on a stage": (
        lambda: EZ(work.a, task(work.b).background()),
        r"In stage 2: \.background\(\) means nothing for a stage such as .*graph\.background\(\)",
    ),
    "asynced on a stage": (lambda: EZ(task(work.b).asynced()), r"\.asynced\(\) means nothing for a stage"),
    "unordered on a stage": (
        lambda: EZ(task(work.b).unordered()),
        r"\.unordered\(\) means nothing for a stage",
    ),
    "progress on a stage": (lambda: EZ(task(work.b).progress()), r"\.progress\(\) means nothing for a stage"),
    "inline on a stage": (
        lambda: EZ(work.a, task(work.b).on("inline")),
        r"In stage 2: \.on\('inline'\) means the whole graph.*graph\.on\('inline'\)",
    ),
    "limit in threads": (
        lambda: EZ(work.a, task(work.b).timeout(3)).on("thread"),
        r"In stage b: \.timeout\(\) cannot be kept by threads: .*ezflow\.ProcessPoolExecutor",
    ),
    "limit of the whole in threads": (
        lambda: EZ(work.a, work.b).timeout(3).on("thread"),
        r"In the graph: \.timeout\(\) cannot be kept by threads",
    ),
    "order of words": (
        lambda: task(work.b).on("thread").priority(3),
        r"\.priority\(\) cannot be kept by threads",
    ),
}


def coroutine() -> Any:
    made = work.soon()
    made.close()
    return made


@pytest.mark.parametrize("what", WRONG)
def test_mistake_is_said_when_the_graph_is_written(what: str) -> None:
    build, message = WRONG[what]

    with pytest.raises(GraphError, match=message) as caught:
        build()

    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_error_holds_the_path_and_travels() -> None:
    import pickle

    with pytest.raises(GraphError) as caught:
        EZ(work.load, {"r": resize})

    assert caught.value.path == "2/r"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path) == (str(caught.value), "2/r")


@pytest.mark.parametrize(
    "build",
    [
        lambda: EZ(work.load, (work.a, work.b)),  # may be two results in one
        lambda: EZ(work.load, {work.mean, work.std}, work.report),
        lambda: EZ(work.load, functools.partial(resize, scale=2)),
        lambda: EZ({"any": work.mean}, work.take_all),
        lambda: EZ({work.mean, work.std}, pack(work.mean)),
        lambda: EZ((work.a, work.b), same, (work.a, work.b)),
        lambda: EZ(work.a, int, str.upper, dict),
        lambda: EZ(max, min),
        lambda: EZ({work.Counter(1).plus, work.mean}),
        lambda: EZ(Zip(work.a, work.a), work.add),
        lambda: EZ(work.a, "os.path.join"),
        lambda: EZ({"mean": lambda x: x, "std": [work.a, work.b]}, work.report),
        lambda: EZ({work.mean, task(work.b).named("std")}, work.report),
    ],
)
def test_what_can_run_is_let_through(build: Any) -> None:
    build()


def test_what_is_no_executor_is_refused() -> None:
    from ezflow import ProcessPoolExecutor

    with pytest.raises(
        TypeError, match=r"\.on\(\) takes an executor or one of 'process', 'thread' and 'inline'"
    ):
        EZ(work.a).on(5)
    with pytest.raises(TypeError, match="takes an executor"):
        EZ(work.a).on("somewhere")
    with pytest.raises(TypeError, match=r"put such a word on the graph|Put such a word on the graph"):
        EZ(work.a).on(ProcessPoolExecutor(1).results())


def test_handler_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="catch takes a function of the error, not 5"):
        EZ(work.a).catch(5)  # type: ignore[arg-type]
