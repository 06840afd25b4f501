"""Every test of the machine also tests the table of transitions that is drawn for its readers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ezflow._engine.states import State, Worker
from tests.unit.state_tables import drawn_in_the_code, transitions


@pytest.fixture(autouse=True)
def transitions_are_in_the_table(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Note how the states of workers change, and compare."""
    if request.module.__name__.rpartition(".")[2] != "test_machine":
        yield
        return
    seen: set[tuple[str, str]] = set()
    slot = Worker.__dict__["state"]

    def change(worker: Worker, state: State) -> None:
        try:
            before = slot.__get__(worker).value
        except AttributeError:  # a new one
            before = "—"
        slot.__set__(worker, state)
        if before != state.value:
            seen.add((before, state.value))

    monkeypatch.setattr(Worker, "state", property(slot.__get__, change))
    yield
    monkeypatch.undo()

    drawn = transitions(drawn_in_the_code())
    assert seen <= drawn | {(before, after) for before, _ in seen for one, after in drawn if one == "any"}
