"""Nothing public is missing from the pages on which people look for it."""

from __future__ import annotations

from pathlib import Path

import pytest

import ezflow
from ezflow.modifiers import BoundMethod

DOCS = Path(__file__).parents[2] / "docs"
WORDS = [name for name in dir(BoundMethod) if not name.startswith("_")]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_in_the_index_of_words_and_in_the_reference(word: str) -> None:
    assert f"\n| `{word}(" in (DOCS / "howto" / "words.md").read_text()
    assert f"ezflow.ProcessPoolExecutor.{word}\n" in (DOCS / "reference" / "api.md").read_text()


@pytest.mark.parametrize("name", ezflow.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert f":: ezflow.{name}\n" in (DOCS / "reference" / "api.md").read_text()


def test_every_how_to_is_in_the_index() -> None:
    index = (DOCS / "howto" / "index.md").read_text()
    listed = set(index.split("```{toctree}")[1].split())

    assert {page.stem for page in (DOCS / "howto").glob("*.md")} - listed == {"index"}
