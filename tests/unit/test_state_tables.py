"""The tables of states and transitions stand in the code and in the documentation; they say the same."""

from __future__ import annotations

from ezflow._engine import machine
from tests.unit.state_tables import drawn_in_the_code, drawn_on_the_page, transitions


def test_code_and_page_draw_the_same_tables() -> None:
    assert len(drawn_in_the_code()) == 2
    assert drawn_in_the_code() == drawn_on_the_page()


def test_tables_name_every_state_and_no_other() -> None:
    states, _ = tables = drawn_in_the_code()
    names = {state.value for state in machine.State}

    assert [row[0] for row in states[1:]] == [state.value for state in machine.State]
    assert {one for pair in transitions(tables) for one in pair} == names | {"—", "any", "gone"}
