"""Answers of calls that nobody has opened yet."""

from __future__ import annotations

from . import errors
from ._memory.reference import Ref, opening
from ._wire.codec import loads, unpack_value
from ._wire.messages import N_KEPT, UNREADABLE, UNSENDABLE, VALUE

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._memory.borrowing import Shipment
    from ._memory.cargo import Part


class SealedAnswer:
    """The bytes of one answer, as a worker sent them."""

    __slots__ = (
        "_beside",
        "_kind",
        "_label",
        "_limit",
        "_payload",
        "_total",
        "attempts",
        "is_free",
        "is_partly_packed",
        "micros",
        "pid",
        "stays_packed",
    )

    def __init__(
        self,
        kind: int,
        payload: bytes | bytearray,
        label: str,
        pid: int | None = None,
        micros: int | None = None,
        beside: Shipment | OSError | None = None,
    ) -> None:
        self._kind = kind
        self._beside: Shipment | OSError | list[memoryview] | Ref[object] | None = beside
        self._payload = payload
        self._label = label
        self._limit: float | None = None
        self._total = False
        self.pid = pid
        self.micros = micros
        self.attempts = 1
        self.stays_packed = False  # a handle is wanted, not the value
        self.is_free = False  # any process can rebuild it
        self.is_partly_packed = False  # handles to parts of it are wanted

    @property
    def failed(self) -> bool:
        """Whether it is known to be an error; a value may still turn out unreadable."""
        return self._kind != VALUE or self._limit is not None

    def make_timeout(self, limit: float | None, *, total: bool = False) -> None:
        """Say that the call was interrupted because its limit had passed, or that of all its runs and the waiting."""
        self._limit = limit
        self._total = total

    def open(self) -> tuple[object, BaseException | None]:
        """Rebuild the value or the error; runs user code, raises only a `KeyboardInterrupt`."""
        if self._kind == VALUE and self._limit is None:
            try:
                if self.stays_packed:
                    return self._handle(), None
                if type(self._beside) is Ref:
                    return self._beside.get(), None
                if self.is_partly_packed:
                    return self._open_around(), None
                payload, beside = self._contents()
                value = unpack_value(payload, self._label, beside)
                self._beside = None
                return value, None
            except KeyboardInterrupt:
                raise
            except errors.UnpicklingError as error:
                return None, error
            except BaseException as error:  # sys.exit while the value was rebuilt must not end this program
                return None, errors.unreadable("result", self._label, error)
        return None, self.error()

    def keep(self) -> None:
        """Have it opened any number of times, each time anew, or handed on unopened (before anybody else has it)."""
        shipment = self._beside
        if shipment is None or isinstance(shipment, OSError | list | Ref) or self.stays_packed or self.failed:
            return
        parts = shipment.parts()
        stream = self._payload or parts.pop()
        self._payload = b""
        self._beside = Ref((bytes(stream) if isinstance(stream, bytearray) else stream, *parts))

    @property
    def ref(self) -> Ref[object] | None:
        """A handle to it, if it is large, is kept, and any process can rebuild it."""
        beside = self._beside
        return beside if self.is_free and type(beside) is Ref else None

    def _handle(self) -> object:
        """Make a handle to the value."""
        return Ref[object](self._parts(), loads(self._payload))

    def _parts(self) -> list[Part]:
        """Give what came beside the answer, unopened, once."""
        shipment, self._beside = self._beside, None
        if isinstance(shipment, OSError):
            raise shipment
        if shipment is None or isinstance(shipment, list | Ref):
            raise RuntimeError("the value did not come with its answer")
        return shipment.parts()

    def _open_around(self) -> object:
        """Rebuild the value around handles to those of its parts that stay packed."""
        parts = self._parts()
        from ._memory.segments import open_here

        (n_kept,) = N_KEPT.unpack_from(self._payload)
        if len(self._payload) == N_KEPT.size:  # the pickle is large itself
            data, *own = open_here([parts.pop(), *parts[:-n_kept]])
        else:
            data, own = memoryview(self._payload)[N_KEPT.size :], open_here(parts[:-n_kept])
        opening.parts = parts[-n_kept:]
        try:
            return unpack_value(data, self._label, own)
        finally:
            del opening.parts

    def _contents(self) -> tuple[bytes | bytearray | memoryview, Sequence[memoryview]]:
        """Give the bytes and the large buffers beside them."""
        beside = self._beside
        if beside is None:
            return self._payload, ()
        if isinstance(beside, OSError):
            raise beside
        assert not isinstance(beside, Ref)
        if not isinstance(beside, list):  # opened once, whatever happens to whoever looks at it
            beside = self._beside = beside.open()
        return (self._payload, beside) if self._payload else (beside[-1], beside[:-1])

    def error(self) -> BaseException:
        """Rebuild the error; one that ended several runs says so."""
        error = self._error()
        if self.attempts > 1:
            error.add_note(errors.runs_note(self.attempts))
        return error

    def _error(self) -> BaseException:
        from ._tracebacks import unpack_exception

        try:
            cause = None if self._kind == VALUE else unpack_exception(bytes(self._contents()[0]), loads)
        except OSError as error:
            return errors.unreadable("exception", self._label, error)
        if self._limit is not None:
            say = errors.out_of_time if self._total else errors.call_timeout
            return say(self._label, self._limit, cause)
        assert cause is not None
        if self._kind == UNREADABLE:
            return errors.unpicklable_argument(self._label, cause)
        if self._kind == UNSENDABLE:
            return errors.unpicklable_result(self._label, cause)
        return cause


class SealedError:
    """An error made in the parent, for one future: a shared one would collect everybody's tracebacks."""

    __slots__ = ("_error", "attempts", "micros", "pid")

    failed = True

    def __init__(self, error: BaseException, *, pid: int | None = None, attempts: int = 0) -> None:
        self._error = error
        self.pid = pid
        self.micros: int | None = None
        self.attempts = attempts

    def open(self) -> tuple[object, BaseException | None]:
        """Give the error."""
        if self.attempts > 1:
            self._error.add_note(errors.runs_note(self.attempts))
        return None, self._error


class SealedTimeout:
    """The end of a call at its limit without an answer of its own; `dump` says where it was, if that is known."""

    __slots__ = ("_dump", "_label", "_limit", "_total", "attempts", "micros", "pid")

    failed = True

    def __init__(self, label: str, limit: float, *, total: bool, dump: bytes, attempts: int) -> None:
        self._label = label
        self._limit = limit
        self._total = total
        self._dump = dump
        self.pid: int | None = None
        self.micros: int | None = None
        self.attempts = attempts

    def open(self) -> tuple[object, BaseException | None]:
        """Make the error; reads source files to show where it was."""
        if self._dump:
            from ._dump import readable

            stack = readable(self._dump)
        else:
            stack = None
        if self._total:
            error = errors.out_of_time(self._label, self._limit, None, stack, has_started=self.attempts > 0)
        else:
            error = errors.call_timeout(self._label, self._limit, None, stack)
        if self.attempts > 1:
            error.add_note(errors.runs_note(self.attempts))
        return None, error


class SealedBreak:
    """The end of a call whose pool broke: its cause may be an error of the user's, still in bytes."""

    __slots__ = ("_error",)

    failed = True
    pid: int | None = None
    micros: int | None = None
    attempts = 0

    def __init__(self, error: Callable[[], BaseException]) -> None:
        self._error = error

    def open(self) -> tuple[object, BaseException | None]:
        """Make an error of its own."""
        return None, self._error()
