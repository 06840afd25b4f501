"""Chains of words: every order of them means the same, wherever they hang; the nearest to the call wins."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezflow import ProcessPoolExecutor, task
from ezflow.options import Options
from tests import work

RUNNING: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "timeout": st.sampled_from([(1.0,), (2,), (None,)]),
    "within": st.sampled_from([(3.0,), (None,)]),
    "retry": st.sampled_from([(1,), (2, ValueError), (3, (OSError, KeyError), 1.0, 2.0)]),
    "priority": st.sampled_from([(1,), (-1,), (0,)]),
    "named": st.sampled_from([("a",), ("b",)]),
}
GIVING: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "star": st.just(()),
    "results": st.just(()),
    "unordered": st.just(()),
    "background": st.just(()),
    "asynced": st.just(()),
}
PLACES = ("submit", "map", "view", "front", "task")
EXCLUDING = {"background", "asynced"}

Chain = list[tuple[str, tuple[Any, ...]]]


@st.composite
def chains(draw: st.DrawFn, place: str) -> Chain:
    """Draw words that may stand together at a place, each once, in some order."""
    words = dict(RUNNING) if place == "view" else {**RUNNING, **GIVING}
    if place == "submit":
        del words["unordered"]
    names = draw(st.lists(st.sampled_from(sorted(words)), unique=True, max_size=6))
    if set(names) >= EXCLUDING:
        names.remove("asynced")
    if place == "front" and not set(names) & GIVING.keys():
        names.append("star")
    return [(name, draw(words[name])) for name in names]


class Spy(ProcessPoolExecutor):
    """Gives, in place of a future, the options of the call."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._gather(fn)[0]

    def map(self, fn: Any, *iterables: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return self._gather(fn)[0]


def hang(start: Any, chain: Chain) -> Any:
    for name, args in chain:
        start = getattr(start, name)(*args)
    return start


def arriving(place: str, chain: Chain) -> Options:
    """Give the options with which a call arrives that has a chain at a place."""
    pool = Spy(1)
    if place in ("submit", "map"):
        found = hang(getattr(pool, place), chain)(work.square, [1])
    elif place == "task":
        found = pool.map(hang(task(work.square), chain), [1])
    else:
        found = hang(pool, chain).map(work.square, [1])
    assert isinstance(found, Options)
    return found


@pytest.mark.parametrize("place", PLACES)
@given(data=st.data())
def test_every_order_means_the_same(place: str, data: st.DataObject) -> None:
    chain = data.draw(chains(place))
    other = data.draw(st.permutations(chain))

    options = arriving(place, chain)

    assert arriving(place, other) == options
    assert {name for name, _ in options} == {name for name, _ in chain}


@pytest.mark.parametrize("method", ["submit", "map"])
@given(data=st.data())
def test_nearest_wins(method: str, data: st.DataObject) -> None:
    words = {name: args for name, args in RUNNING.items() if name != "retry"}
    places = [
        data.draw(st.dictionaries(st.sampled_from(sorted(words)), st.integers(1, 9), max_size=4))
        for _ in range(3)
    ]
    far, middle, near = [
        [(name, (str(n),) if name == "named" else (n,)) for name, n in place.items()] for place in places
    ]

    view = hang(Spy(1), far)
    options = hang(getattr(view, method), near)(hang(task(work.square), middle), [1])

    expected = {**dict(far), **dict(middle), **dict(near)}
    assert dict(options) == {name: args[0] for name, args in expected.items()}


@given(chain=chains("submit"), again=st.data())
def test_repeating_a_word_before_the_parentheses_is_an_error(chain: Chain, again: st.DataObject) -> None:
    if not chain:
        return
    name, args = again.draw(st.sampled_from(chain))
    hung = hang(ProcessPoolExecutor(1).submit, chain)

    with pytest.raises(TypeError, match=name):
        getattr(hung, name)(*args)


@given(chain=chains("view"), again=st.data())
def test_later_setting_on_an_executor_replaces_the_earlier(chain: Chain, again: st.DataObject) -> None:
    name = again.draw(st.sampled_from(sorted(RUNNING)))
    args = again.draw(RUNNING[name])

    options = arriving("view", [*chain, (name, args)])

    alone = arriving("view", [(name, args)])
    assert options.get(name, "nothing") == alone.get(name)


@pytest.mark.parametrize("start", ["submit", "map", "front", "task"])
@given(data=st.data())
def test_background_and_asynced_never_stand_together(start: str, data: st.DataObject) -> None:
    others = [each for each in data.draw(chains("submit")) if each[0] not in EXCLUDING]
    both: Chain = [("background", ()), ("asynced", ())]
    chain = data.draw(st.permutations([*others, *both]))
    pool = ProcessPoolExecutor(1)
    begin = {"submit": pool.submit, "map": pool.map, "front": pool, "task": task(work.square)}[start]

    with pytest.raises(TypeError, match="background"):
        hang(begin, chain)


@given(chain=chains("task"))
def test_tasks_compare_by_what_they_do_and_keep_their_signature(chain: Chain) -> None:
    made = hang(task(work.square), chain)

    assert made == hang(task(work.square), list(reversed(chain)))
    assert hash(made) == hash(hang(task(work.square), list(reversed(chain))))
    if not made._options.get("star"):  # which takes one thing to unpack
        assert inspect.signature(made) == inspect.signature(work.square)
    assert made.fn(3) == 9
