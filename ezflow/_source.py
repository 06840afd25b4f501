"""Measure one file of Python source: the work that ``python -m ezflow`` gives to the pool.

`measure_file` runs in a worker or, for comparison, in the parent. It raises whatever is wrong with
the file, because an error that comes back whole is part of what the demo shows.
"""

from __future__ import annotations

import ast
import tokenize
import warnings
from dataclasses import dataclass

_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Documented = (ast.Module, ast.ClassDef, *_Function)
_Branch = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


@dataclass(frozen=True, slots=True, order=True)
class FunctionFacts:
    """Cyclomatic complexity of one function, and where it stands."""

    complexity: int
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What one file holds; all numbers are counts."""

    path: str
    lines: int
    functions: int
    classes: int
    branches: int
    documentable: int
    documented: int
    most_complex: tuple[FunctionFacts, ...]


def measure_file(path: str, keep: int = 10) -> FileFacts:
    """Parse one file and count what it holds; `keep` says how many complex functions to bring back.

    Raises `OSError` for a file that cannot be read, `SyntaxError` for one that is not Python or does not
    say its encoding truly, `UnicodeDecodeError` for bytes that are not in its encoding.
    """
    with tokenize.open(path) as file:  # honours the coding line and the byte-order mark
        text = file.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file's own SyntaxWarnings are not our subject
        tree = ast.parse(text, filename=path)
    return measure_tree(tree, path, text.count("\n") + (not text.endswith("\n") and text != ""), keep)


def measure_tree(tree: ast.Module, path: str, lines: int, keep: int = 10) -> FileFacts:
    """Count a parsed file. A function's complexity is 1 plus its branches, without those of functions in it.

    The count is T. J. McCabe's, *A Complexity Measure*, IEEE Trans. Softw. Eng. SE-2 (1976) 308, eq. for
    single-entry programs: decisions + 1. Each ``and``, ``or``, comprehension loop and filter is a decision.
    """
    names: list[str] = []
    starts: list[int] = []
    complexity: list[int] = []
    classes = documentable = documented = outside = 0
    stack: list[tuple[ast.AST, int]] = [(tree, -1)]  # a node, and the index of the function it is in
    while stack:  # not recursive: deeply nested source must not end in a RecursionError here
        node, owner = stack.pop()
        if isinstance(node, _Documented):
            documentable += 1
            documented += ast.get_docstring(node, clean=False) is not None
        if isinstance(node, _Function):
            owner = len(names)
            names.append(node.name)
            starts.append(node.lineno)
            complexity.append(1)
        elif isinstance(node, ast.ClassDef):
            classes += 1
        decisions = _decisions(node)
        if owner >= 0:
            complexity[owner] += decisions
        else:
            outside += decisions
        stack.extend((child, owner) for child in ast.iter_child_nodes(node))
    functions = sorted(map(FunctionFacts, complexity, names, starts), reverse=True)
    return FileFacts(
        path=path,
        lines=lines,
        functions=len(functions),
        classes=classes,
        branches=outside + sum(complexity) - len(complexity),
        documentable=documentable,
        documented=documented,
        most_complex=tuple(functions[:keep]),
    )


def _decisions(node: ast.AST) -> int:
    """Count the decisions that this node itself adds."""
    if isinstance(node, _Branch):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return 0
