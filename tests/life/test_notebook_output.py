"""In a notebook, what workers print and log appears in the cell that submitted, without a switch."""

from __future__ import annotations

from pathlib import Path

from tests.life.notebook import kernel

START = """
import logging, multiprocessing, os, sys
from ezflow import ProcessPoolExecutor
pool = ProcessPoolExecutor(2, multiprocessing.get_context(os.environ["METHOD"]){more})
def speak(text):
    print("out", text)
    print("err", text, file=sys.stderr)
    logging.getLogger("cell").warning("log %s", text)
def wait(path):
    while not os.path.exists(path): pass
    print("late")
"""


def test_prints_and_records_appear_in_the_cell(start_method: str, tmp_path: Path) -> None:
    with kernel(tmp_path, {"METHOD": start_method}) as notebook:
        notebook.run(START.format(more=""))
        cells = [notebook.run(f"pool.submit(speak, {number}).result()") for number in range(3)]
        notebook.run("pool.shutdown()")

    assert [cell.stdout for cell in cells] == ["out 0\n", "out 1\n", "out 2\n"]
    assert [sorted(cell.stderr.splitlines()) for cell in cells] == [
        [f"err {number}", f"log {number}"] for number in range(3)
    ]


def test_it_appears_in_the_cell_that_submitted(start_method: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with kernel(tmp_path, {"METHOD": start_method, "GATE": str(gate)}) as notebook:
        notebook.run(START.format(more=""))
        request = notebook.send("late = pool.submit(wait, os.environ['GATE'])")
        notebook.wait(request)
        notebook.send("open(os.environ['GATE'], 'w').close(); late.result()")
        first = notebook.wait(request, until="late\n")
        notebook.run("pool.shutdown()")

    assert first.stdout == "late\n"


def test_switch_turns_it_off(start_method: str, tmp_path: Path) -> None:
    with kernel(tmp_path, {"METHOD": start_method}) as notebook:
        notebook.run(START.format(more=", output=False"))
        cell = notebook.run("print(pool._output); pool.shutdown()")

    assert cell.stdout == "False\n"
