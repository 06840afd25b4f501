"""The wording of every complaint about a graph: the place, what is wrong, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import GraphError
from .nodes import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str, ...]


def place(path: Path) -> str:
    """Name a place in a graph."""
    return f"stage {'/'.join(path)}" if path else "the graph"


def plural(n: int, noun: str) -> str:
    """Count things."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listed(names: Iterable[str]) -> str:
    """List names as they are read out."""
    quoted = [repr(name) for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)


def _error(path: Path, what: str, remedy: str) -> GraphError:
    where = place(path)
    return GraphError(f"In {where}: {what}. {remedy}", path="/".join(path))


# ---------------------------------------------------------------- what is written


def nothing_in(path: Path, shape: str) -> GraphError:
    """Say that a container is empty."""
    return _error(path, f"{shape} is empty", "Put a stage into it, or leave it out.")


def not_callable(path: Path, thing: object) -> GraphError:
    """Say that something is no stage."""
    kind = type(thing).__name__
    if kind in ("coroutine", "async_generator", "generator"):
        name = getattr(thing, "__qualname__", "f")
        return _error(
            path,
            f"{name}(...) was called, and its {kind} object is no stage",
            f"Write the function itself, without parentheses: {name}.",
        )
    remedy = "A stage is a function, a list, tuple, set or dict of stages, or a graph."
    if isinstance(thing, str):
        remedy = (
            "A text is a stage if it names a function with its module, such as 'package.module.function'."
        )
    return _error(path, f"{thing!r:.80} (of type {kind}) cannot be called", remedy)


def bare_word(path: Path, word: Any) -> GraphError:
    """Say that a word that makes a stage was not called."""
    return _error(path, *of_bare_word(word))


def of_bare_word(word: Any) -> tuple[str, str]:
    """Say what is wrong with it, and how to mend it; in flows the place is named otherwise."""
    name = word.__name__
    return f"{name} is a word that makes a stage", f"Write it with parentheses: {name}(...)."


def is_of_flows(path: Path, thing: object) -> GraphError:
    """Say that something is a stage of flows."""
    return _error(
        path,
        f"{thing!r:.80} is a stage of flows, for a stream of items",
        "Put it into Flow(...); a graph has one call in and one result out.",
    )


def inside_itself(path: Path) -> GraphError:
    """Say that a container holds itself."""
    return _error(
        path, "this list or dict holds itself, so the graph would never end", "Build it from new lists."
    )


def label_is_no_text(path: Path, label: object) -> GraphError:
    """Say that a dict's key is no label."""
    return _error(
        path, f"the label {label!r:.80} is not a text", "Labels of branches are texts: {'mean': f}."
    )


def bad_label(path: Path, label: str) -> GraphError:
    """Say that a label cannot be part of a path."""
    return _error(
        path,
        f"the label {label!r} is empty or has a '/' in it",
        "Choose one without: paths are made of labels.",
    )


def no_name(path: Path, shown: str, is_function: bool) -> GraphError:
    """Say that a branch of a set has no name of its own."""
    why = f"{shown} has no name of its own" if is_function else f"{shown} is no function, so it has no name"
    return _error(
        path,
        f"{why}, and the results of a set are told apart by name",
        f"Label it: {{'label': {shown}}} or Broadcast(label={shown}); or use Zip(...) for results by position.",
    )


def twice_the_name(path: Path, label: str) -> GraphError:
    """Say that two branches have one name."""
    return _error(
        path,
        f"two branches of this set are called {label!r}",
        f"Label them: {{'first': ..., 'second': ...}} or .named('...'); or use Zip({label}, {label}) for results by position.",
    )


def misplaced_word(path: Path, word: str, shown: str) -> GraphError:
    """Say that an option means nothing on a stage."""
    remedy = {
        "stream": "Let the stage return a list, and use each(...) for what follows.",
        "sealed": "Submit the task to a pool, or take the word away.",
        "unordered": "It is a word for map: graph.unordered().map(xs).",
        "background": "It is a word for the whole graph: graph.background()(x).",
        "asynced": "It is a word for the whole graph: graph.asynced()(x).",
        "progress": "It is a word for the whole graph: graph.progress().map(xs).",
    }[word]
    return _error(path, f".{word}() means nothing for a stage such as {shown}", remedy)


def inline_stage(path: Path) -> GraphError:
    """Say that a stage cannot run in the caller's thread, which waits."""
    return _error(
        path,
        ".on('inline') means the whole graph, because it runs in the thread that calls it",
        "Write graph.on('inline'), or .on('thread') for this stage.",
    )


# ---------------------------------------------------------------- what flows


def wrong_number(path: Path, stage: str, takes: str, given: str) -> GraphError:
    """Say that a function does not take as many inputs as arrive."""
    name = stage.partition("(")[0]
    return _error(
        path,
        f"{stage} {takes}, but {given}",
        f"Fix the others with functools.partial({name}, ...); or write star({name}) if one result holds them all."
        if takes.startswith("needs")
        else f"Drop what is too much, or take all that arrives in one tuple with pack({name}).",
    )


def wrong_names(
    path: Path, stage: str, missing: Iterable[str], surplus: Iterable[str], given: str
) -> GraphError:
    """Say that names and parameters do not meet."""
    missing, surplus = list(missing), list(surplus)
    pieces = []
    if surplus:
        pieces.append(f"has no parameter{'s' * (len(surplus) > 1)} {listed(surplus)}")
    if missing:
        pieces.append(f"gets nothing for its parameter{'s' * (len(missing) > 1)} {listed(missing)}")
    if surplus and missing:
        remedy = f"Label the branch: {{{missing[0]!r}: {surplus[0]}}}."
    elif surplus:
        remedy = f"Rename the parameter, label the branch, or use Zip({', '.join(surplus)}, ...) for results by position."
    else:
        remedy = "Add a branch with that name, or give the parameter a default."
    return _error(path, f"{stage} {' and '.join(pieces)}, but {given}", remedy)


def only_by_label(path: Path, stage: str, names: Iterable[str]) -> GraphError:
    """Say that a name that nobody wrote down does not enter ``**kwargs``."""
    names = list(names)
    return _error(
        path,
        f"{stage} has no parameter{'s' * (len(names) > 1)} {listed(names)}, only **keywords, which take labels that were written down",
        f"Label the branch: {{{names[0]!r}: {names[0]}}}.",
    )


def positional_only(path: Path, stage: str, names: Iterable[str]) -> GraphError:
    """Say that a parameter cannot be given by name."""
    return _error(
        path,
        f"{stage} takes {listed(names)} by position only, and the results of a set come by name",
        "Use Zip(...) in place of the set.",
    )


def wrong_width(path: Path, n_branches: int, given: str) -> GraphError:
    """Say that a tuple has more or fewer branches than results arrive."""
    return _error(
        path,
        f"a tuple of {plural(n_branches, 'branch') if n_branches == 1 else f'{n_branches} branches'} takes"
        f" {plural(n_branches, 'input')}, one each, but {given}",
        "Write as many branches as there are results; to give all of them to every branch write {...} or Zip(...).",
    )


def names_without_position(path: Path, given: str) -> GraphError:
    """Say that the results of a set cannot be dealt out."""
    return _error(
        path,
        f"a tuple deals its inputs out by position, but {given}, by name",
        "Use Zip(...) in place of the set before, or a set in place of this tuple.",
    )


def not_one(path: Path, word: str, given: str) -> GraphError:
    """Say that a word needs a single input."""
    return _error(
        path,
        f"{word} takes one input, but {given}",
        "Put a function that makes one result of them in between, such as pack(list).",
    )


# ---------------------------------------------------------------- when it is called or bound


def wrong_call(n_branches: int, n_args: int, keywords: Iterable[str]) -> TypeError:
    """Say that a call does not fit a graph that begins with a tuple."""
    given = plural(n_args, "positional argument")
    names = list(keywords)
    if names:
        given += f" and the keyword {listed(names)}"
    return TypeError(
        f"This graph begins with a tuple of {n_branches} branches, so it takes {n_branches} positional arguments,"
        f" one for each, but got {given}. To give the same call to every branch write {{...}} or Zip(...)."
    )


def wrong_call_of_same() -> TypeError:
    """Say that positional and keyword arguments together are no result."""
    return TypeError(
        "`same` cannot pass on positional and keyword arguments together as one result. Call the graph with one kind."
    )


def not_unpackable(where: str, n_branches: int, what: object) -> TypeError:
    """Say that one result cannot be dealt out among the branches of a tuple."""
    if isinstance(what, tuple | list):
        came = f"a {type(what).__name__} of length {len(what)}"
    else:
        came = f"one {type(what).__name__}"
    shown = f" ({what!r:.60})" if isinstance(what, int | float | str | bytes | tuple | list | None) else ""
    return TypeError(
        f"In {where}: a tuple of {n_branches} branches splits what arrives, so it needs a tuple or list of length"
        f" {n_branches}, but {came}{shown} came. To give the same input to every branch write {{...}}, with results by"
        " name, or Zip(...), with results by position."
    )


def not_iterable(where: str, what: object) -> TypeError:
    """Say that `each` has nothing to go through."""
    return TypeError(
        f"In {where}: each(...) takes a list or another iterable, but one {type(what).__name__} came."
        " Let the stage before return a list, or leave each(...) out."
    )


def option_not_kept(where: str, word: str, executor: str, why: str) -> GraphError:
    """Say that an executor cannot keep an option."""
    return GraphError(f"In {where}: .{word}() cannot be kept by {executor}: {why}")


def no_executor(what: object) -> TypeError:
    """Say that a graph cannot run there."""
    return TypeError(f".on() takes an executor or one of 'process', 'thread' and 'inline', not {what!r:.80}.")


def async_is_of_flows() -> GraphError:
    """Say that a graph has no event loop of its own."""
    return GraphError(
        ".on('async') is for stages of a Flow. In a graph a coroutine function runs in the event loop of a worker;"
        " leave the word out."
    )


def is_a_front() -> TypeError:
    """Say that a front is no executor."""
    return TypeError(
        ".on() takes an executor, and pool.results(), pool.star() and the like are none."
        " Put such a word on the graph: graph.on(pool).results()."
    )


# ---------------------------------------------------------------- notes and keys


def stage_note(path: str, label: str) -> str:
    """Word the note on an error that a stage ended with."""
    return f"ezflow: in stage {path} ({label})"


def no_part(name: str, names: Iterable[str]) -> KeyError:
    """Say that a run has no such part."""
    return KeyError(f"{name!r} is no part of this run; its parts are {', '.join(names)}")


def many_parts(name: str, paths: Iterable[str]) -> KeyError:
    """Say that a name is not unique."""
    return KeyError(
        f"several stages are called {name!r}; name one by its path: {', '.join(map(repr, paths))}"
    )


def fused_part(name: str, call: str, path: str) -> KeyError:
    """Say that a stage has no result of its own."""
    return KeyError(
        f"{name!r} has no result of its own: it runs inside the call {call!r}, whose part is {path!r}."
        " A limit or retry of its own, or .on(...), makes it a call of its own."
    )


def shown(fn: Any) -> str:
    """Show a function with its parameters."""
    from inspect import signature

    try:
        names = [
            ("*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else "") + p.name
            for p in signature(fn).parameters.values()
        ]
    except (TypeError, ValueError):
        names = ["..."]
    return f"{text_of(fn)}({', '.join(names)})"
