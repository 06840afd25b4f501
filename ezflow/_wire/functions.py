"""Take a function apart: its code, what the code refers to, its state.

The code travels as `marshal` bytes, since both ends run the same Python. What
a code object refers to is read from its instructions, once per code object.
"""

from __future__ import annotations

import builtins
import marshal
import sys
from types import CodeType, FunctionType, ModuleType

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

GLOBAL_INSTRUCTIONS: Final = frozenset(
    # The *_NAME ones are for class bodies inside a function, which read globals that way.
    {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
)

NEVER_SENT: Final = frozenset({"__builtins__", "__loader__", "__spec__", "__name__"})
"""Names of a module that belong to the process the module is in."""

_N_CODES: Final = 4096  # chosen: code objects remembered; programs that make code all the time stay bounded


class CodeFacts:
    """What is known of a code object.  Never changed."""

    __slots__ = ("attributes", "code", "data", "doc", "names")

    def __init__(
        self,
        code: CodeType,
        data: bytes | CodeType,  # as it is sent
        names: tuple[str, ...],  # globals it may read or write, nested code included
        attributes: frozenset[str],  # all names in it
        doc: str | None,  # docstring a function of it is born with
    ) -> None:
        self.code = code
        self.data = data
        self.names = names
        self.attributes = attributes
        self.doc = doc


_facts: dict[int, CodeFacts] = {}  # by identity; the facts keep the code alive, so no number is used twice


def facts_of(code: CodeType) -> CodeFacts:
    """Return what is known of a code object."""
    facts = _facts.get(id(code))
    if facts is None or facts.code is not code:
        if len(_facts) >= _N_CODES:
            _facts.clear()
        facts = _facts[id(code)] = _study(code)
    return facts


def _study(code: CodeType) -> CodeFacts:
    import dis  # 2 ms, for the first function that is sent by value

    names: dict[str, None] = {}
    attributes: set[str] = set()
    for each in _with_nested(code):
        attributes.update(each.co_names)
        for instruction in dis.get_instructions(each):
            if instruction.opname in GLOBAL_INSTRUCTIONS and isinstance(instruction.argval, str):
                names[instruction.argval] = None
            elif instruction.opname == "IMPORT_NAME":
                names["__package__"] = None  # a relative import looks there
    for name in NEVER_SENT:
        names.pop(name, None)
    data: bytes | CodeType
    try:
        data = marshal.dumps(code)
    except ValueError:  # somebody put an object of his own among the constants
        data = code
    doc = FunctionType(code, {}, None, None, _cells(code)).__doc__
    return CodeFacts(code, data, tuple(names), frozenset(attributes), doc)


def _with_nested(code: CodeType) -> Iterable[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_nested(constant)


def _cells(code: CodeType) -> Any:
    from types import CellType

    return tuple(CellType() for _ in code.co_freevars) or None


def is_package(value: object) -> bool:
    """Say whether a value is a module that can have submodules."""
    return isinstance(value, ModuleType) and getattr(value, "__path__", None) is not None


def submodules(facts: CodeFacts, values: Iterable[object]) -> tuple[str, ...]:
    """Name the submodules that code reaches as attributes of the packages among `values`.

    ``import a.b`` binds ``a`` only; importing ``a`` elsewhere would not bring ``a.b`` along.
    """
    found: list[str] = []
    for value in values:
        if is_package(value):
            prefix = value.__name__ + "."  # type: ignore[attr-defined]  # a module
            found += (
                name
                for name in list(sys.modules)
                if name.startswith(prefix)
                and facts.attributes.issuperset(name[len(prefix) :].split("."))
                and sys.modules[name] is not None
            )
    return tuple(found)


def unusual_names(function: FunctionType, facts: CodeFacts) -> dict[str, Any] | None:
    """Return the names and the docstring that a function made from this code does not get by itself."""
    code = facts.code
    found: dict[str, Any] = {}
    if function.__name__ != code.co_name:
        found["__name__"] = function.__name__
    if function.__qualname__ != code.co_qualname:
        found["__qualname__"] = function.__qualname__
    if function.__module__ != function.__globals__.get("__name__"):
        found["__module__"] = function.__module__
    if function.__doc__ is not facts.doc and function.__doc__ != facts.doc:
        found["__doc__"] = function.__doc__
    parameters = getattr(function, "__type_params__", None)
    if parameters:
        found["__type_params__"] = parameters
    return found or None


def plain_annotations(owner: Any) -> dict[str, Any]:
    """Return annotations in a form that always travels.

    What Python itself can name is kept, everything else becomes text, as under
    ``from __future__ import annotations``. An annotation must never be the reason that a call cannot be sent.
    """
    try:
        annotations: Mapping[str, Any] = owner.__annotations__
    except Exception:  # evaluated late since 3.14, may name what does not exist
        return {}
    return {str(name): _plain(value) for name, value in annotations.items()} if annotations else {}


def _plain(value: object) -> object:
    """Return an annotation as it is if it is text or a builtin, else as text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, type):
        name = value.__qualname__
        is_builtin = value.__module__ == "builtins" and getattr(builtins, name, None) is value
        return value if is_builtin else name
    try:
        return repr(value)
    except Exception:
        return "object"
