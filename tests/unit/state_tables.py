"""Read the tables of states and transitions, in the code and in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from ezflow._engine import machine

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "engine.md"

Table = list[tuple[str, ...]]


def drawn_in_the_code() -> list[Table]:
    """Read the tables of the module's docstring: columns are as wide as the bars above them."""
    text = machine.__doc__ or ""
    tables = []
    for bar, head, rows in re.findall(r"^(=+(?: +=+)+)\n(.+)\n\1\n((?:.+\n)+?)\1$", text, re.MULTILINE):
        spans = [match.span() for match in re.finditer("=+", bar)]
        spans[-1] = (spans[-1][0], 1000)
        tables.append(
            [tuple(row[start:end].strip() for start, end in spans) for row in (head, *rows.splitlines())]
        )
    return tables


def drawn_on_the_page() -> list[Table]:
    """Read the tables of the section about the machine."""
    section = PAGE.read_text().partition("## The machine\n")[2].partition("\n## ")[0]
    tables = []
    for block in re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE):
        rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in block.splitlines()]
        tables.append([row for row in rows if set(row) != {"---"}])
    return tables


def transitions(tables: list[Table]) -> set[tuple[str, str]]:
    """Give the pairs of states in the table of transitions."""
    pairs = set()
    for row, *_ in tables[1][1:]:
        before, _, after = row.partition(" → ")
        pairs |= {(before, one) for one in after.split(" or ")}
    return pairs
