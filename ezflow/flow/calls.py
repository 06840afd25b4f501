"""What is called for the items of a job: in a worker of ours, in one of another library, or here."""

from __future__ import annotations

from .._engine.current import running
from .items import Carried, Failure
from .program import State, carrying, outputs_of, pack_large, run_items, told_as
from .weight import LARGE, LIGHT, nbytes_of

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Final

    from .program import Answer, Extra, Program

PIECE: Final = 256
"""Outputs in one piece of a stream, at most.  Larger: more memory; smaller: more messages (chosen)."""

OLD: Final = 0.02
"""Seconds after which a piece is sent, however small it is (chosen)."""


def run_pieces(
    steps: Program,
    base: int,
    keep: bool,
    handler: Callable[..., object] | None,
    item: Any,
    names: tuple[str, ...],
    to_pack: int,
) -> Generator[tuple[list[Any], int, Extra | None]]:
    """Run a program for one item, and yield its outputs in pieces, each as soon as it is large enough or old enough."""
    from time import perf_counter

    state = State(keep, handler, names)
    token = running.item.set(state)
    try:
        outs: list[Any] = []
        n_failed = 0
        began = perf_counter()
        value = item
        if type(item) is Carried:
            value = item.value
            state.meta = dict(item.meta)
        for out in outputs_of(steps, 0, value, base, state):
            if type(out) is Failure:
                n_failed += 1
            elif state.meta is not None:
                out = carrying(out, state.meta)
            outs.append(out)
            state.nbytes += 0 if type(out) in LIGHT else nbytes_of(out)
            if len(outs) >= PIECE or state.nbytes > LARGE or perf_counter() - began > OLD:
                yield pack_large(outs, state, to_pack), n_failed, state.extra()
                state.emitted = []
                outs, n_failed, state.nbytes = [], 0, 0
                began = perf_counter()
        if outs or state.emitted:
            yield pack_large(outs, state, to_pack), n_failed, state.extra()
    finally:
        try:
            running.item.reset(token)
        except ValueError:  # closed in another context
            pass


run_pieces.__dict__["told_as"] = told_as


def run_again(retry: tuple[int, Any, float, float], *args: Any) -> tuple[Answer, int]:
    """Run a program again if it fails: for executors that repeat nothing themselves."""
    from time import sleep

    n, on, delay, backoff = retry
    while True:
        try:
            return run_timed(*args)
        except on as error:
            if not n or type(error).__name__ in ("CancelledError", "KeyboardInterrupt"):
                raise
        n -= 1
        sleep(delay)
        delay *= backoff


def run_in(env: tuple[tuple[str, str], ...], *args: Any) -> Answer:
    """Run a program with variables of the environment set, in a worker process."""
    from os import environ

    before = {name: environ.get(name) for name, _ in env}
    environ.update(env)
    try:
        return run_items(*args)
    finally:
        for name, value in before.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value


run_in.__dict__["told_as"] = lambda _, *args: told_as(*args)


def run_timed(*args: Any) -> tuple[Answer, int]:
    """Run a program over items, and tell how many microseconds that took: for who is no worker of ours."""
    from time import perf_counter_ns

    began = perf_counter_ns()
    answer = run_items(*args)
    return answer, (perf_counter_ns() - began) // 1000
