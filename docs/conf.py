"""Sphinx settings. A warning is an error in CI, so every exception below has its reason."""

from __future__ import annotations

import ezflow

project = "ezflow"
author = "the ezflow authors"
project_copyright = "2026, the ezflow authors"
release = ezflow.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples"]

autodoc_typehints = "none"  # types stand in the docstrings' own sections
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them
numpydoc_class_members_toctree = False

nitpicky = True
nitpick_ignore_regex = [
    # The standard library's own inventory is on the network; the build must not need one.
    (r"py:.*", r"(concurrent|multiprocessing|_?pickle|asyncio)\..*"),
    (
        r"py:.*",
        r"(Exception|RuntimeError|TimeoutError|TypeError|AttributeError|KeyboardInterrupt|BrokenProcessPool)",
    ),
    # numpydoc turns these words of a Returns or Raises section into links.
    (
        r"py:.*",
        r"(T|P|optional|iterator|callable|ezflow\._.*|ezflow\.modifiers\..*|ezflow\.future\.T|ezflow\.graph\.future\.T)",
    ),
]

html_theme = "furo"
html_title = f"ezflow {release}"
