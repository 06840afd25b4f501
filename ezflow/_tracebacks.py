"""Exceptions to bytes in the worker, and back to exceptions in the parent.

An exception is the root of a graph: causes, contexts, members of groups, and
exceptions among its attributes.  The graph travels as a flat list of records,
one for each exception, which name each other by number::

    worker   exception graph ─ pack_exception ─▶ _Graph(_Record, _Record, …, source lines) ─▶ bytes
    parent   exception graph ◀─ unpack_exception ─ the same

So shared members stay shared, cycles and long chains cost no recursion, and one
bad exception does not spoil the others.  A record is plain data, which always
unpickles.  What may not is inside it as bytes of their own:

type
    the class, by the codec's pickler.  Builtin classes go by name.
rest
    all values in ``args``, ``__dict__`` and ``__slots__`` that are not plain.
    If they do not pickle together, each is tried alone, and those that fail
    travel as their repr, with a note that says so.
own
    the whole exception in the way its class has defined (`__reduce__` and its
    relatives), if it has.

Three ways to rebuild, tried in this order: the class's own way; a blank
instance whose ``args``, attributes, slots and C-level fields are set without
running ``__init__``; the stand-in `RemoteError`.  Traceback, cause, context and
notes are set afterwards on whatever came out, so they never depend on how a
class pickles.

Nothing is installed anywhere: `copyreg` and the user's picklers stay as they are.
Hostile ``__reduce__``, ``__repr__`` or ``__getattr__`` can raise what they
like, except that a `KeyboardInterrupt` (so `CallInterrupted` too) passes
through.  One that never returns or ends the process cannot be defended against here.

One value is left behind on purpose, as in CPython: ``AttributeError.obj`` (see
`field_values`).
"""

from __future__ import annotations

import builtins
import copyreg
import itertools
import pickle

from ._anatomy import (
    ARGS,
    CAUSE,
    CONTEXT,
    DICT,
    GROUP_MEMBERS,
    GROUP_MESSAGE,
    SUPPRESS,
    TRACEBACK,
    blank,
    field_values,
    fields,
    full_name,
    is_builtin,
    is_users,
    mro,
    names,
)
from ._frames import capture, rebuild, register, texts_of

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Final

    from ._frames import Place

MAX_CHAIN: Final = 100
"""Links of cause and context that are followed from the error itself.  Chosen."""

MAX_RECORDS: Final = 10_000
"""Exceptions carried for one error.  Chosen: 0.2 s of work."""

MAX_MESSAGE: Final = 10_000
"""Characters of the text that a stand-in would show.  The original's args are not shortened."""

MAX_REPR: Final = 400
"""Characters of the repr that stands for one value."""

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_OWN_WAYS: Final = frozenset(
    {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__"}
)


# Plain classes: named tuples, made by `typing`, cost each worker 5 ms before its first call.


class _Ref:
    """In the place of a value that is not plain."""

    __slots__ = ("kind", "value")

    def __init__(
        self,
        kind: str,  # "exception": number of its record; "rest": place in the rest; "list", "tuple": values
        value: Any,
    ) -> None:
        self.kind = kind
        self.value = value


class _Record:
    """One exception."""

    __slots__ = (
        "args",
        "attributes",
        "bases",
        "cause",
        "context",
        "cut",
        "group",
        "message",
        "name",
        "own",
        "places",
        "places_left_out",
        "reason",
        "replaced",
        "rest",
        "rest_names",
        "rest_numbers",
        "slots",
        "suppress",
        "type",
    )

    def __init__(
        self,
        name: str,  # module and qualified name of the class
        type_: str | bytes | None,  # name in builtins, pickled class, or None if it did not pickle
        bases: tuple[tuple[str, str], ...],  # module and name of the class and its bases, nearest first
        message: str,
        args: Any,
        attributes: dict[str, Any],
        slots: dict[str, Any],
        rest: bytes,  # a pickled list
        rest_numbers: tuple[int, ...],  # which values are in it
        rest_names: tuple[tuple[str, str], ...],  # place and type of every value that is not plain
        replaced: dict[int, tuple[str, str]],  # values that did not pickle: their repr, and why
        own: bytes | None,
        cause: int | None,
        context: int | None,
        suppress: bool,
        group: tuple[str, tuple[int | None, ...]] | None,
        places: tuple[Place, ...],
        places_left_out: int,
        cut: bool,  # its cause or context was beyond the limit
        reason: str,  # why the class did not pickle
    ) -> None:
        self.name = name
        self.type = type_
        self.bases = bases
        self.message = message
        self.args = args
        self.attributes = attributes
        self.slots = slots
        self.rest = rest
        self.rest_numbers = rest_numbers
        self.rest_names = rest_names
        self.replaced = replaced
        self.own = own
        self.cause = cause
        self.context = context
        self.suppress = suppress
        self.group = group
        self.places = places
        self.places_left_out = places_left_out
        self.cut = cut
        self.reason = reason


class _Graph:
    """An exception and all that belong to it; the first record is the exception itself."""

    __slots__ = ("records", "texts")

    def __init__(
        self,
        records: tuple[_Record, ...],
        texts: dict[str, list[str]],
    ) -> None:
        self.records = records
        self.texts = texts


# -- in the worker


def pack_exception(exc: BaseException, dumps: Callable[[object], bytes]) -> bytes:
    """Turn an exception and all that hangs on it into bytes; never fails.

    `dumps` is the codec's pickler.  Only a `KeyboardInterrupt` passes through.
    """
    try:
        return pickle.dumps(_Packer(dumps).pack(exc), 5)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # memory, recursion: at least the name and the text
        return pickle.dumps(_Graph((_bare_record(exc, error),), {}), 5)


def _bare_record(exc: BaseException, error: BaseException) -> _Record:
    """Make the record of an exception that could not be taken apart."""
    name, bases = full_name(type(exc)), names(type(exc))
    reason = f"packing it failed with {_reason(error)}"
    text = _text(exc)
    return _Record(
        name,
        None,
        bases,
        text,
        (),
        {},
        {},
        b"",
        (),
        (),
        {},
        None,
        None,
        None,
        False,
        None,
        (),
        0,
        False,
        reason,
    )


class _Packer:
    """Walks one graph of exceptions; used once."""

    def __init__(self, dumps: Callable[[object], bytes]) -> None:
        self._dumps = dumps
        self._found: list[BaseException] = []  # holds them, so that the ids below stay theirs
        self._depths: list[int] = []
        self._numbers: dict[int, int] = {}
        self._seen: dict[str, tuple[FrameType, set[int]]] = {}

    def pack(self, exc: BaseException) -> _Graph:
        """Give the records of an exception and of all that it leads to."""
        self._number(exc, 0)
        records = []
        for number, found in enumerate(self._found):  # the list grows as we go
            try:
                records.append(self._record(found, self._depths[number]))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                records.append(_bare_record(found, error))
        return _Graph(tuple(records), texts_of(self._seen))

    def _number(self, exc: BaseException | None, depth: int) -> int | None:
        """Give the number of an exception's record; None if it is beyond the limits."""
        if exc is None:
            return None
        number = self._numbers.get(id(exc))
        if number is None:
            number = len(self._found)
            if depth > MAX_CHAIN or number >= MAX_RECORDS:
                return None
            self._numbers[id(exc)] = number
            self._found.append(exc)
            self._depths.append(depth)
        return number

    def _record(self, exc: BaseException, depth: int) -> _Record:
        """Make the record of one exception."""
        cls = type(exc)
        builtin = is_builtin(cls)
        bases = (("builtins", cls.__name__),) if builtin else names(cls)
        name = full_name(cls)
        type_: str | bytes | None
        type_, reason = cls.__name__ if builtin else None, ""
        if not builtin:
            type_, reason = self._try_dumps(cls)

        values = _Values(self._dumps, self._number, depth)
        group = None
        if issubclass(cls, BaseExceptionGroup):  # isinstance asks the object, which may lie
            members = tuple(self._number(member, depth) for member in GROUP_MEMBERS.__get__(exc))
            group = (_exact(GROUP_MESSAGE.__get__(exc)), members)
        args = tuple(values.encode(f"args[{i}]", value) for i, value in enumerate(ARGS.__get__(exc)))
        attributes = {}
        for key, value in (DICT.__get__(exc) or {}).items():
            if type(key) is str:
                notes = key == "__notes__" and type(value) is list and all(type(n) is str for n in value)
                attributes[key] = _Ref("list", value) if notes else values.encode(key, value)
        slots = {key: values.encode(key, value) for key, value in field_values(exc)}
        own = None
        if not builtin and group is None and _has_own_way(cls):
            own, _ = self._try_dumps(exc)
        rest, rest_numbers = values.pack()

        cause, context = CAUSE.__get__(exc), CONTEXT.__get__(exc)
        cause_number, context_number = self._number(cause, depth + 1), self._number(context, depth + 1)
        cut = (cause_number is None) != (cause is None) or (context_number is None) != (context is None)
        places, places_left_out = capture(TRACEBACK.__get__(exc), self._seen)
        return _Record(
            name,
            type_,
            bases,
            _text(exc, plain=not any(n.startswith("args[") for n, _ in values.names)),
            args,
            attributes,
            slots,
            rest,
            rest_numbers,
            tuple(values.names),
            values.replaced,
            own,
            cause_number,
            context_number,
            SUPPRESS.__get__(exc),
            group,
            places,
            places_left_out,
            cut,
            reason,
        )

    def _try_dumps(self, obj: object) -> tuple[bytes | None, str]:
        """Pickle an object, or say why it cannot be."""
        return _try_dumps(self._dumps, obj)


class _Values:
    """The values of one exception: plain ones stay, the others are gathered and pickled together."""

    def __init__(
        self,
        dumps: Callable[[object], bytes],
        number: Callable[[BaseException, int], int | None],
        depth: int,
    ) -> None:
        self._dumps = dumps
        self._number = number
        self._depth = depth
        self._rest: list[object] = []
        self._at: dict[int, int] = {}
        self.names: list[tuple[str, str]] = []
        self.replaced: dict[int, tuple[str, str]] = {}

    def encode(self, place: str, value: object) -> object:
        """Give a value if it is plain, else what stands for it."""
        cls = type(value)
        if cls in _PLAIN:
            return value
        if issubclass(cls, BaseException):
            number = self._number(value, self._depth + 1)  # type: ignore[arg-type]  # type() cannot be fooled
            if number is not None:
                return _Ref("exception", number)
            return self._put(place, value, "beyond the limit of exceptions carried")
        if cls is tuple or cls is list:
            items: Any = value
            if cls is tuple and len(items) <= 100 and all(type(item) in _PLAIN for item in items):
                return value
            if any(issubclass(type(item), BaseException) for item in items[:16]):
                return _Ref(cls.__name__, [self.encode(f"{place}[{i}]", x) for i, x in enumerate(items)])
        return self._put(place, value)

    def _put(self, place: str, value: object, reason: str | None = None) -> _Ref:
        """Put a value to the rest, or its repr where it must not travel."""
        at = self._at.get(id(value))  # the same object, as argument and as attribute, is often there twice
        if at is not None:
            places, name = self.names[at]
            self.names[at] = (f"{places} and {place}", name)
            return _Ref("rest", at)
        at = self._at[id(value)] = len(self._rest)
        self._rest.append(value)
        self.names.append((place, full_name(type(value))))
        if reason is not None:
            self.replaced[at] = (_short_repr(value), reason)
        return _Ref("rest", at)

    def pack(self) -> tuple[bytes, tuple[int, ...]]:
        """Pickle the rest together; if that fails, without those that fail alone."""
        numbers = [at for at in range(len(self._rest)) if at not in self.replaced]
        if not numbers:
            return b"", ()
        data, _ = _try_dumps(self._dumps, [self._rest[at] for at in numbers])
        if data is not None:
            return data, tuple(numbers)
        kept = []
        for at in numbers:
            data, reason = _try_dumps(self._dumps, self._rest[at])
            if data is None:
                self.replaced[at] = (_short_repr(self._rest[at]), reason)
            else:
                kept.append(at)
        data, reason = _try_dumps(self._dumps, [self._rest[at] for at in kept])
        if data is not None:
            return data, tuple(kept)
        for at in kept:
            self.replaced[at] = (_short_repr(self._rest[at]), reason)
        return b"", ()


def _try_dumps(dumps: Callable[[object], bytes], obj: object) -> tuple[bytes | None, str]:
    """Pickle an object, or say why it cannot be."""
    try:
        return bytes(dumps(obj)), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, _reason(error)


def _has_own_way(cls: type) -> bool:
    """Tell whether a class, or somebody for it, has defined how it pickles."""
    if cls in copyreg.dispatch_table:
        return True
    for base in mro(cls):
        if is_users(base) and not _OWN_WAYS.isdisjoint(vars(base)):
            # EzflowError's own way carries its cause, which travels in the graph anyway.
            return (base.__module__, base.__qualname__) != ("ezflow.errors", "EzflowError")
    return False


def _text(exc: BaseException, plain: bool = True) -> str:
    """Give what a stand-in would show: ``str(exc)`` unless that may be dear.

    The standard `__str__` makes the repr of all args, which may be large arrays;
    a class that has defined `__str__` is trusted.
    """
    try:
        if plain or any("__str__" in vars(base) for base in mro(type(exc)) if is_users(base)):
            text = _exact(str(exc))
            return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 3]}..."
        return ", ".join(_short_repr(arg) for arg in ARGS.__get__(exc)[:10])
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<its __str__ raised {full_name(type(error))}>"


def _exact(text: str) -> str:
    """Give a str for one that may be of a subclass, which might not unpickle."""
    return str.__str__(text)


def _reason(error: BaseException) -> str:
    """Show in one line why something failed."""
    name = full_name(type(error))
    try:
        text = " ".join(_exact(str(error))[:1000].split())
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = ""
    return f"{name}: {text[:300]}" if text else name


def _short_repr(value: object) -> str:
    """Give a repr of bounded length, whatever `__repr__` does."""
    import reprlib

    try:
        short = reprlib.Repr()
        short.maxstring = short.maxother = MAX_REPR
        text = _exact(short.repr(value))
        return text if len(text) <= 4 * MAX_REPR else f"{text[: 4 * MAX_REPR - 3]}..."
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<{full_name(type(value))} object>"


# -- in the parent


def unpack_exception(data: bytes, loads: Callable[[bytes], object]) -> BaseException:
    """Rebuild an exception that `pack_exception` made; never fails.

    `loads` is the codec's unpickler.  In the worst case the answer is a
    `RemoteError` with the text.  Only a `KeyboardInterrupt` passes through.
    """
    try:
        graph = pickle.loads(data)
        return _Unpacker(graph, loads).unpack()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from . import errors

        return errors.garbled(error)


class _Unpacker:
    """Rebuilds one graph of exceptions: first all of them, then what connects them."""

    def __init__(self, graph: _Graph, loads: Callable[[bytes], object]) -> None:
        self._records = graph.records
        self._loads = loads
        self._renamed = register(graph.texts)
        self._made: list[BaseException | None] = [None] * len(graph.records)

    def unpack(self) -> BaseException:
        """Give the first exception of the graph."""
        finish = [self._make_with_members(number) for number in range(len(self._records))]
        for number, step in itertools.chain.from_iterable(finish):
            try:
                step()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # one exception keeps what was set until then
                self._note_failure(number, error)
        first = self._made[0]
        assert first is not None
        return first

    def _note_failure(self, number: int, error: BaseException) -> None:
        """Say on an exception that its state could not be set."""
        from . import errors

        made = self._made[number]
        assert made is not None
        _add_notes(made, [errors.unrebuilt_note("Part", _reason(error))])

    def _make_with_members(self, root: int) -> list[tuple[int, Callable[[], None]]]:
        """Make an exception, a group's members before the group; give what remains to be done."""
        steps: list[tuple[int, Callable[[], None]]] = []
        stack, open_ = [root], set()
        while stack:
            number = stack[-1]
            if self._made[number] is not None:
                stack.pop()
                continue
            group = self._records[number].group
            waiting = [] if group is None or number in open_ else [n for n in group[1] if n is not None]
            waiting = [n for n in waiting if self._made[n] is None and n not in open_]
            open_.add(number)
            if waiting:
                stack += waiting
                continue
            stack.pop()
            steps.append((number, self._make(number)))
        return steps

    def _make(self, number: int) -> Callable[[], None]:
        """Make one exception, without its state; give what sets the state."""
        from . import errors

        record = self._records[number]
        group = None
        if record.group is not None:
            message, numbers = record.group
            members = [None if n is None else self._made[n] for n in numbers]
            group = (message, tuple(errors.left_out_member(MAX_RECORDS) if m is None else m for m in members))
        rest, unread = self._read_rest(record)
        reason = record.reason
        exc: BaseException | None = None
        own = False
        if record.own is not None:
            exc, reason = self._read_own(record.own)
            own = exc is not None
        if exc is None and record.type is not None:
            try:
                exc = blank(self._read_type(record.type), group)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                reason = _reason(error)
        stand_in = exc is None
        if exc is None:
            exc = _stand_in(_importable(record.bases), group)
        self._made[number] = exc
        made = exc

        def finish() -> None:
            self._fill(made, record, rest, unread, own=own)
            if stand_in and isinstance(made, errors.RemoteError):
                _describe(made, record, rest, reason)

        return finish

    def _read_type(self, data: str | bytes) -> type[BaseException]:
        """Give the class of an exception."""
        cls = getattr(builtins, data) if isinstance(data, str) else self._loads(data)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise TypeError(f"{cls!r} is not an exception class here")
        return cls

    def _read_own(self, data: bytes) -> tuple[BaseException | None, str]:
        """Rebuild an exception in the way that its class has defined."""
        try:
            exc = self._loads(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return None, _reason(error)
        return (exc, "") if isinstance(exc, BaseException) else (None, "")

    def _read_rest(self, record: _Record) -> tuple[dict[int, object], str]:
        """Unpickle the values that are not plain; those that did not pickle are their repr."""
        values: dict[int, object] = {at: text for at, (text, _) in record.replaced.items()}
        unread = ""
        if record.rest_numbers:
            try:
                loaded: Any = self._loads(record.rest)
                values.update(zip(record.rest_numbers, loaded, strict=True))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                unread = _reason(error)
                for at in record.rest_numbers:
                    values[at] = f"<{record.rest_names[at][1]} object>"
        return values, unread

    def _decode(self, value: Any, rest: dict[int, object]) -> Any:
        """Give back the value that `_Values.encode` was given."""
        if type(value) is not _Ref:
            return value
        if value.kind == "exception":
            return self._made[value.value]
        if value.kind == "rest":
            return rest[value.value]
        items = [self._decode(item, rest) for item in value.value]
        return tuple(items) if value.kind == "tuple" else items

    def _fill(
        self, exc: BaseException, record: _Record, rest: dict[int, object], unread: str, *, own: bool
    ) -> None:
        """Set the state of one exception and its links to others."""
        from . import errors

        def is_whole(value: object) -> bool:
            return not (
                type(value) is _Ref and value.kind == "rest" and (unread or value.value in record.replaced)
            )

        # What the class's own way has restored is right; what it dropped, such as notes, is added if it can be.
        if not own or all(is_whole(value) for value in record.args):
            ARGS.__set__(exc, tuple(self._decode(value, rest) for value in record.args))
        attributes = DICT.__get__(exc)
        for name, value in record.attributes.items():
            if not own or name == "__notes__" or (name not in attributes and is_whole(value)):
                attributes[name] = self._decode(value, rest)
        if record.slots:
            self._fill_slots(exc, record, rest, own=own)
        cause, context = record.cause, record.context
        CAUSE.__set__(exc, None if cause is None else self._made[cause])
        CONTEXT.__set__(exc, None if context is None else self._made[context])
        SUPPRESS.__set__(exc, record.suppress)
        TRACEBACK.__set__(exc, rebuild(record.places, self._renamed))

        notes = []
        if not own:
            notes += [
                errors.replaced_note(record.rest_names[at][0], why)
                for at, (_, why) in record.replaced.items()
            ]
            if unread:
                names = ", ".join(record.rest_names[at][0] for at in record.rest_numbers)
                notes.append(errors.unrebuilt_note(names, unread))
        if record.places_left_out:
            notes.append(errors.frames_note(record.places_left_out))
        if record.cut:
            notes.append(errors.chain_note(MAX_CHAIN))
        _add_notes(exc, notes)

    def _fill_slots(self, exc: BaseException, record: _Record, rest: dict[int, object], *, own: bool) -> None:
        """Set slots and C-level fields."""
        for name, descriptor, _ in fields(type(exc)):
            if name not in record.slots:
                continue
            try:
                if own and descriptor.__get__(exc) is not None:
                    continue
            except Exception:  # not set, so it is ours to set
                pass
            try:
                descriptor.__set__(exc, self._decode(record.slots[name], rest))
            except Exception:  # read only, or of another type by now
                continue


def _add_notes(exc: BaseException, notes: list[str]) -> None:
    """Add notes, past a class's own `add_note`."""
    if not notes:
        return
    attributes = DICT.__get__(exc)
    present = attributes.get("__notes__")
    attributes["__notes__"] = [*present, *notes] if type(present) is list else notes


def _importable(named: tuple[tuple[str, str], ...]) -> list[type[BaseException]]:
    """Import what can be imported of a class and its bases."""
    import importlib

    found: list[type[BaseException]] = []
    failed = set()
    for module, qualname in named:
        if module in failed:
            continue
        try:
            obj: object = importlib.import_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException:
            failed.add(module)  # its code is not run again for each base
            continue
        try:
            for part in qualname.split("."):
                obj = getattr(obj, part)
        except Exception:
            continue
        if isinstance(obj, type) and issubclass(obj, BaseException):
            found.append(obj)
    return found


def _stand_in(
    bases: list[type[BaseException]], group: tuple[str, tuple[BaseException, ...]] | None
) -> BaseException:
    """Make a stand-in that is an instance of the nearest of `bases` that allow it."""
    from . import errors

    while bases:
        try:
            return blank(errors.stand_in_class(bases), group)
        except Exception:  # a base written in C may insist on its own __new__
            bases = bases[1:]
    return errors.RemoteError()


def _describe(exc: Any, record: _Record, rest: dict[int, object], reason: str) -> None:
    """Give a stand-in the description of its original."""
    import traceback

    from . import errors

    attributes = DICT.__get__(exc)
    shown = traceback.format_tb(TRACEBACK.__get__(exc))
    head = f"{record.name}: {record.message}" if record.message else record.name
    attributes["type_name"] = record.name
    attributes["message"] = record.message
    attributes["args_repr"] = _args_repr(record, ARGS.__get__(exc))
    attributes["traceback_text"] = "".join(["Traceback (most recent call last):\n", *shown, head, "\n"])
    attributes["reason"] = reason
    bases = [base for base in type(exc).__bases__ if base is not errors.RemoteError]
    _add_notes(exc, [errors.stand_in_note(record.name, reason, bases)])


def _args_repr(record: _Record, args: tuple[object, ...]) -> str:
    """Show the args; those that could not be sent are their repr already."""
    shown = []
    for sent, value in zip(record.args, args, strict=True):
        described = type(sent) is _Ref and sent.kind == "rest" and sent.value in record.replaced
        shown.append(str(value) if described else _short_repr(value))
    return f"({shown[0]},)" if len(shown) == 1 else f"({', '.join(shown)})"
