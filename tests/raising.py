"""Exceptions of every kind, raised some frames deep; importable by parent and child.

`python -m tests.raising PICKLER FILE` packs all of them and pickles to FILE, for each
kind, the packed bytes and what `facts` says of the original.  That process's
`__main__` holds classes of its own; one module exists there only.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import linecache
import pickle
import subprocess
import sys
import threading
import traceback
import types
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any


def outer(make: Callable[[], BaseException]) -> None:
    inner(make)


def inner(make: Callable[[], BaseException]) -> None:
    raise make()


def caught(make: Callable[[], BaseException]) -> BaseException:
    """Raise what `make` makes, two frames deep, and catch it."""
    try:
        outer(make)
    except BaseException as error:
        return error
    raise AssertionError


def caught_in(fn: Callable[[], object]) -> BaseException:
    """Catch what a function raises by itself."""
    try:
        fn()
    except BaseException as error:
        return error
    raise AssertionError


class ManyArgs(Exception):
    def __init__(self, a: int, b: str) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class NoSuper(Exception):
    def __init__(self, a: int, *, b: list[int]) -> None:
        self.a, self.b = a, b


class KeywordOnly(ValueError):
    def __init__(self, *, code: int, data: dict[str, int]) -> None:
        super().__init__(f"code {code}")
        self.code, self.data = code, data


class Slots(Exception):
    __slots__ = ("left", "right")

    def __init__(self, left: object, right: object) -> None:
        self.left, self.right = left, right


class MoreSlots(Slots):
    __slots__ = ("__private", "never_set")

    def __init__(self) -> None:
        super().__init__([1], None)
        self.__private = {"p": 1}
        self.open = "in __dict__"

    def private(self) -> object:
        return self.__private


class HiddenSlots(Slots):
    """Hides both slots of its base: one by a slot, one by a property."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        Slots.left.__set__(self, "below")
        Slots.right.__set__(self, ["below"])
        self.left = "above"

    @property
    def right(self) -> object:
        raise RuntimeError("computed")


class InitRaises(Exception):
    def __init__(self, *args: object) -> None:
        if args != ("first",):
            raise RuntimeError("__init__ runs once")
        super().__init__("made by __init__")


class OwnReduce(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}/{b}")
        self.pair = (a, b)
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        return OwnReduce, self.pair


class ReduceRebuilds(Exception):
    def __reduce__(self) -> Any:
        return ReduceRebuilds, self.args


class NotesItself(Exception):
    def __init__(self) -> None:
        super().__init__()
        self.add_note("from __init__")

    def __reduce__(self) -> Any:
        return NotesItself, ()


class ReduceRaises(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit("not today")


class ReduceWrong(LookupError):
    def __init__(self, a: object, b: object) -> None:
        super().__init__(a, b)

    def __reduce__(self) -> Any:
        return ReduceWrong, ("one argument too few",)


class OwnState(Exception):
    def __getstate__(self) -> Any:
        return {"kept": self.__dict__["kept"]}

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state, restored=True)


class Singleton(Exception):
    def __reduce__(self) -> str:
        return "SINGLETON"


SINGLETON = Singleton("the only one")


class Group(ExceptionGroup):
    def __new__(cls, errors: list[Exception], label: str) -> Group:
        made = super().__new__(cls, f"{len(errors)} errors", errors)
        made.label = label
        return made

    def __init__(self, errors: list[Exception], label: str) -> None:
        pass

    def derive(self, excs: Any) -> Group:
        return Group(excs, self.label)


class Abstract(abc.ABC, Exception):
    @abc.abstractmethod
    def never(self) -> None: ...


class Both(KeyError, AttributeError):
    """Two builtin bases with different layouts."""


class BothErrors(ValueError, OSError):
    pass


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int
    parts: tuple[int, ...]


class Falsy(Exception):
    __hash__ = None

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


class Property(Exception):
    """Its message is computed, and setting attributes is forbidden."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.__dict__["code"] = code

    @property
    def message(self) -> str:
        return f"code {self.code}"

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("frozen")

    def __str__(self) -> str:
        return self.message


class HostileGetattr(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class HostileGetattribute(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


class HostileText(ValueError):
    def __str__(self) -> str:
        raise SystemExit("str")

    def __repr__(self) -> str:
        raise GeneratorExit


class Word(str):
    __slots__ = ()


class Tie:
    """Unpickles only where it was made."""

    def __init__(self, home: int) -> None:
        self.home = home

    def __reduce__(self) -> Any:
        import os

        return _tie, (os.getpid(),)


def _tie(home: int) -> Tie:
    import os

    if os.getpid() != home:
        raise RuntimeError("tied to its process")
    return Tie(home)


Pair = namedtuple("Pair", "x y")


def with_cause() -> BaseException:
    def run() -> None:
        try:
            inner(lambda: KeyError("first"))
        except KeyError as error:
            raise ValueError("second") from error

    return caught_in(run)


def with_context() -> BaseException:
    def run() -> None:
        try:
            inner(lambda: KeyError("first"))
        except KeyError:
            outer(lambda: ValueError("second"))

    return caught_in(run)


def from_none() -> BaseException:
    def run() -> None:
        try:
            inner(lambda: KeyError("first"))
        except KeyError:
            raise ValueError("second") from None

    return caught_in(run)


def noted(error: BaseException, *notes: str) -> BaseException:
    for note in notes:
        error.add_note(note)
    return error


def having(error: BaseException, **attributes: object) -> BaseException:
    vars(error).update(attributes)
    return error


def nested_group() -> BaseException:
    return caught(
        lambda: ExceptionGroup(
            "outside",
            [with_cause(), ExceptionGroup("inside", [caught(lambda: ManyArgs(1, "b")), OSError(2, "x")])],
        )
    )


def recursion() -> BaseException:
    def down(n: int) -> int:
        return down(n + 1) + 1

    return caught_in(lambda: down(0))


def chain(n: int) -> BaseException:
    error: BaseException = ValueError(0)
    for i in range(1, n):
        later = ValueError(i)
        later.__cause__ = error
        error = later
    return error


def cycle() -> BaseException:
    a, b, c = ValueError("a"), KeyError("b"), TypeError("c")
    a.__cause__, b.__context__, c.__cause__ = b, c, a
    return caught(lambda: a)


def own_cycle() -> BaseException:
    error = ValueError("me")
    error.me = error
    error.args = (error,)
    return error


def shared() -> BaseException:
    one = caught(lambda: KeyError("one"))
    error = having(ValueError("two", one), reason=one, all=[one, 7], pair=(one, "x"))
    error.__cause__ = error.__context__ = one
    return error


SOURCE = "def typed(x):\n    y = x + 1\n    return y / 0\n"


def typed(name: str, source: str = SOURCE) -> BaseException:
    """Raise in code whose source is only in linecache."""
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space: dict[str, Any] = {"__name__": "typed_in"}
    exec(compile(source, name, "exec"), space)
    return caught_in(lambda: space["typed"](1))


def _ezflow_error() -> BaseException:
    from ezflow import errors

    return caught(lambda: errors.unpicklable("result", "crop", caught(lambda: TypeError("lock")), "[0].lock"))


FAITHFUL: dict[str, Callable[[], BaseException]] = {
    "plain": lambda: caught(lambda: ValueError("x")),
    "no arguments": lambda: caught(RuntimeError),
    "never raised": lambda: ValueError("x"),
    "big message": lambda: caught(lambda: ValueError("x" * 1_000_000)),
    "KeyError": lambda: caught_in(lambda: {}["k"]),
    "many arguments": lambda: caught(lambda: ManyArgs(1, "b")),
    "no super().__init__": lambda: caught(lambda: NoSuper(1, b=[2])),
    "keyword only": lambda: caught(lambda: KeywordOnly(code=3, data={"a": 1})),
    "slots": lambda: caught(lambda: Slots(1, [2])),
    "more slots": lambda: caught(MoreSlots),
    "hidden slots": lambda: caught(HiddenSlots),
    "notes itself": lambda: noted(caught(NotesItself), "from outside"),
    "__init__ raises": lambda: caught(lambda: InitRaises("first")),
    "file not found": lambda: caught_in(lambda: Path("/nowhere/at all").read_text()),
    "two file names": lambda: caught(lambda: OSError(18, "cross-device", "a", None, "b")),
    "OSError without errno": lambda: caught(lambda: OSError("only text")),
    "BlockingIOError": lambda: caught(lambda: BlockingIOError(11, "again", 5)),
    "CalledProcessError": lambda: caught(lambda: subprocess.CalledProcessError(2, ["ls"], b"out", b"err")),
    "TimeoutExpired": lambda: caught(lambda: subprocess.TimeoutExpired(["ls"], 1.5)),
    "JSONDecodeError": lambda: caught_in(lambda: json.loads("{")),
    "UnicodeDecodeError": lambda: caught_in(b"\xff".decode),
    "UnicodeEncodeError": lambda: caught_in("\udc80".encode),
    "UnicodeTranslateError": lambda: caught(lambda: UnicodeTranslateError("x", 0, 1, "why")),
    "SyntaxError": lambda: caught_in(lambda: compile("a b", "<words>", "exec")),
    "ImportError": lambda: caught_in(lambda: __import__("no_such_module_here")),
    "ImportError with path": lambda: caught(lambda: ImportError("m", name="n", path="p")),
    "AttributeError": lambda: caught_in(lambda: object().nothing),
    "NameError": lambda: caught_in(lambda: nothing),  # noqa: F821
    "StopIteration": lambda: caught(lambda: StopIteration([1, 2])),
    "StopAsyncIteration": lambda: caught(lambda: StopAsyncIteration(1)),
    "MemoryError": lambda: caught(MemoryError),
    "SystemExit": lambda: caught(lambda: SystemExit(3)),
    "KeyboardInterrupt": lambda: caught(KeyboardInterrupt),
    "GeneratorExit": lambda: caught(GeneratorExit),
    "bare BaseException": lambda: caught(lambda: BaseException("b")),
    "group": nested_group,
    "base group": lambda: caught(lambda: BaseExceptionGroup("b", [KeyboardInterrupt(), caught(ValueError)])),
    "own group": lambda: caught(lambda: Group([caught(lambda: KeyError(1)), ValueError(2)], "mine")),
    "cause": with_cause,
    "context": with_context,
    "from None": from_none,
    "notes": lambda: noted(caught(lambda: ValueError("x")), "one", "two\nlines"),
    "notes on own reduce": lambda: noted(caught(lambda: ReduceRebuilds(1)), "one"),
    "odd notes": lambda: having(caught(ValueError), __notes__="just text"),
    "own state": lambda: having(caught(OwnState), kept=1, restored=True),
    "__reduce__ raises": lambda: having(caught(lambda: ReduceRaises(1)), more=[1]),
    "__reduce__ is wrong": lambda: having(caught(lambda: ReduceWrong(1, 2)), more=[1]),
    "abstract": lambda: caught(lambda: Abstract("abc")),
    "two layouts": lambda: caught(lambda: Both("both")),
    "ValueError and OSError": lambda: caught(lambda: BothErrors(2, "both", "file")),
    "falsy": lambda: caught(lambda: Falsy("f")),
    "property": lambda: caught(lambda: Property(7)),
    "hostile __getattr__": lambda: caught(lambda: HostileGetattr("h")),
    "str subclass": lambda: caught(lambda: ValueError(Word("w"), Pair(1, [2]))),
    "user attributes": lambda: having(caught(lambda: ValueError("x")), a=1, b=[1, {"c": (2,)}]),
    "recursion": recursion,
    "cycle": cycle,
    "shared": shared,
    "source in memory": lambda: typed("<cell 1>"),
    "ezflow's own": _ezflow_error,
}
"""Kinds that arrive as they were."""


def only_here() -> types.ModuleType:
    """Make a module that no other process has."""
    if "only_in_child" in sys.modules:
        return sys.modules["only_in_child"]
    module = types.ModuleType("only_in_child")
    source = (
        "class Missing(Exception):\n"
        "    def __init__(self, code):\n"
        "        super().__init__(code, [code])\n"
        "        self.code = code\n"
        "        self.things = [code]\n"
        "    def __str__(self): return f'missing {self.code}'\n"
        "from tests import raising\n"
        "class Near(raising.KeywordOnly): pass\n"
        "class Group(ExceptionGroup): pass\n"
        "class Exit(SystemExit): pass\n"
        "class File(FileNotFoundError): pass\n"
        "class Word(str): pass\n"
        "class Speaks(ValueError):\n"
        "    def __str__(self): return Word('spoken')\n"
        "    def __repr__(self): return Word('shown')\n"
        "class Two(KeyError, AttributeError): pass\n"
    )
    exec(source, vars(module))
    for value in list(vars(module).values()):
        if isinstance(value, type):
            value.__module__ = module.__name__ if value.__module__ == "builtins" else value.__module__
    sys.modules[module.__name__] = module
    return module


def missing(name: str, *args: object, **kwargs: object) -> BaseException:
    module = only_here()
    return caught(lambda: getattr(module, name)(*args, **kwargs))


def tied_local() -> BaseException:
    lock = threading.Lock()

    class Local(IndexError):
        held = lock

    return having(noted(caught(lambda: Local("deep", 1)), "a note"), code=5)


def _linked() -> BaseException:
    error = caught(lambda: ValueError("fine"))
    error.__cause__ = missing("Missing", 4)
    error.__context__ = tied_local()
    return error


DAMAGED: dict[str, Callable[[], BaseException]] = {
    "lock": lambda: having(noted(caught(lambda: ValueError("x")), "mine"), lock=threading.Lock(), good=[1]),
    "lock in args": lambda: caught(lambda: ValueError("x", threading.Lock(), [1])),
    "lock in slot": lambda: caught(lambda: Slots(threading.Lock(), [1])),
    "tie": lambda: having(caught(lambda: ValueError("x")), tie=Tie(0), plain=3),
    "hostile text": lambda: having(caught(lambda: HostileText("x")), lock=threading.Lock()),
    "hostile __getattribute__": lambda: caught(lambda: HostileGetattribute("x")),
    "own reduce": lambda: having(caught(lambda: OwnReduce(1, 2)), extra=7),
    "local class": tied_local,
    "missing class": lambda: missing("Missing", 4),
    "missing class near": lambda: missing("Near", code=1, data={}),
    "missing group": lambda: missing("Group", "g", [with_cause()]),
    "missing exit": lambda: missing("Exit", 3),
    "missing file": lambda: missing("File", 2, "no", "name"),
    "missing two": lambda: missing("Two", "t"),
    "missing words": lambda: caught(
        lambda: ExceptionGroup(only_here().Word("group"), [missing("Speaks", only_here().Word("w"))])
    ),
    "missing cause": _linked,
    "chain": lambda: chain(300),
    "singleton": lambda: noted(caught(lambda: SINGLETON), "n"),
}
"""Kinds that arrive with something said about them; each has a test of its own."""


def facts(error: BaseException) -> Any:
    """Say all that a user can see of an exception, as text and numbers."""
    numbers: dict[int, int] = {}
    told = []
    queue = [error]
    numbers[id(error)] = 0

    def name(other: object) -> object:
        if isinstance(other, BaseException):
            if id(other) not in numbers:
                numbers[id(other)] = len(queue)
                queue.append(other)
            return f"exception {numbers[id(other)]}"
        if type(other) in (list, tuple):
            return [type(other).__name__, *(name(item) for item in other)]
        return repr(other)

    for one in queue:
        frames = [
            (f.filename, f.name, f.lineno, f.line, f.colno, f.end_colno, f.end_lineno)
            for f in traceback.extract_tb(one.__traceback__)
            if f.name not in ("caught", "caught_in", "<lambda>")
        ]
        slots = {}
        for cls in type(one).__mro__:
            for key, value in vars(cls).items():
                if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                    if key in ("__dict__", "__weakref__", "__traceback__", "args", "obj"):
                        continue
                    try:
                        slots[key] = name(value.__get__(one))
                    except AttributeError:
                        slots[key] = "not set"
        told.append(
            {
                "type": f"{type(one).__module__}.{type(one).__qualname__}",
                "str": str(one)[:5000]
                if not any(isinstance(arg, BaseException) for arg in one.args)
                else None,
                "args": [name(arg) for arg in one.args],
                "dict": {key: name(value) for key, value in sorted(vars(one).items())},
                "slots": slots,
                "frames": frames,
                "functions": [
                    (frame.f_code.co_qualname, frame.f_code.co_firstlineno, frame.f_globals["__name__"])
                    for frame, _ in traceback.walk_tb(one.__traceback__)
                    if "caught" not in frame.f_code.co_qualname and "<lambda>" not in frame.f_code.co_qualname
                ],
            }
        )
    return told


def main(pickler: str, file: str) -> None:
    import cloudpickle

    from ezflow._tracebacks import pack_exception

    dumps = {"pickle": pickle.dumps, "cloudpickle": cloudpickle.dumps}[pickler]
    answer = {}
    for kind, make in FAITHFUL.items():
        error = make()
        answer[kind] = (pack_exception(error, dumps), facts(error))
    for kind, make in DAMAGED.items():
        answer[kind] = (pack_exception(make(), dumps), None)
    with open(file, "wb") as out:
        pickle.dump(answer, out)


if __name__ == "__main__":
    from tests import raising  # noqa: PLW0406  # the classes of this module must not be those of __main__

    raising.main(*sys.argv[1:])
