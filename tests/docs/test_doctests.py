"""Examples in docstrings run, and every module imports on its own."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import ezflow

pytestmark = pytest.mark.dealt

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ezflow.__path__, "ezflow.")
    if module.name != "ezflow.__main__"
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)

    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)

    assert failed == 0
