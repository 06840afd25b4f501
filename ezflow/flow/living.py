"""What a stage with a state does in its worker: one object, set up before the first item."""

from __future__ import annotations

from .program import MAP, run_items, told_as

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .program import Answer, Program

_here: list[Any] = []


def environ_with(env: dict[str, str]) -> None:
    """Set variables of the environment, for good."""
    from os import environ

    environ.update(env)


def set_up(stage: Any, env: tuple[tuple[str, str], ...]) -> None:
    """Set the stage up: the initializer of its pool, so a worker that takes another's place does it, too."""
    if env:
        from os import environ

        environ.update(env)
    stage.setup()
    _here.append(stage)


def run_living(
    note: str,
    rest: Program,
    base: int,
    keep: bool,
    handler: Callable[..., object] | None,
    items: list[Any],
    names: tuple[str, ...],
    to_pack: int,
) -> Answer:
    """Run its `do` over items."""
    return run_items(((MAP, _here[0].do, note), *rest), base, keep, handler, items, names, to_pack)


run_living.__dict__["told_as"] = lambda note, rest, *args: told_as(((MAP, None, note), *rest), *args)


def tear_down() -> None:
    """Tear it down, once."""
    while _here:
        _here.pop().teardown()
