"""The notebook of the documentation, run in a real kernel, gives what is stored in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.life.notebook import Cell, kernel

NOTEBOOK = Path(__file__).parents[2] / "docs" / "examples" / "in_a_notebook.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def stored(cell: dict[str, list[dict[str, object]]]) -> list[str]:
    """Give the outputs that a cell holds: printed text, then the value of its last line."""
    texts = []
    for output in cell["outputs"]:
        data = output["data"]["text/plain"] if "data" in output else output["text"]  # type: ignore[index]
        texts.append("".join(data))  # type: ignore[arg-type]
    return texts


def outputs(ran: Cell) -> list[str]:
    """Give the outputs of a run, without what differs from run to run and between versions of Python."""
    texts = [text for text in (ran.stdout, ran.shown) if text]
    texts = [re.sub(r'File "\S+?ipykernel_\d+/\d+\.py"', 'File "a cell"', text) for text in texts]
    return [re.sub(r"^[ ~^]+\n", "", text, flags=re.MULTILINE) for text in texts]


@pytest.mark.slow
@pytest.mark.dealt
def test_cells_give_the_stored_outputs(tmp_path: Path) -> None:
    with kernel(tmp_path, {}) as notebook:
        ran = [notebook.run("".join(cell["source"])) for cell in CELLS]

    assert [cell.error for cell in ran] == [None] * len(CELLS)
    assert [outputs(cell) for cell in ran] == [stored(cell) for cell in CELLS]
    assert "".join(cell.stderr for cell in ran) == ""
