"""Functions and stages for flows, which workers import."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezflow import DROP, Stage, To, current_call


def inc(x: int) -> int:
    return x + 1


def same(x: Any) -> Any:
    return x


def double(x: int) -> int:
    return 2 * x


def negate(x: Any) -> Any:
    return -x


def shown(x: Any) -> str:
    return f"<{x}>"


def listed(x: Any) -> Any:
    return [x]


def two(x: Any) -> Iterator[Any]:
    yield x
    yield ("again", x)


def some(x: Any) -> Iterator[Any]:
    """Yield 0 to 3 outputs."""
    for i in range(len(str(x)) % 4):
        yield (i, x)


def odd(x: Any) -> bool:
    return bool(sum(map(ord, str(x))) % 2)


def is_even(x: int) -> bool:
    return x % 2 == 0


def drop_some(x: Any) -> Any:
    return DROP if sum(map(ord, str(x))) % 3 == 0 else x


def nothing(_: Any) -> None:
    return None


async def soon(x: Any) -> Any:
    return ("soon", x)


def third(x: Any) -> int:
    return sum(map(ord, str(x))) % 3


def sent_to_third(x: Any) -> Any:
    return To(third(x), x)


def sent_by_yield(x: Any) -> Iterator[Any]:
    yield To(third(x), x)


def vip_if_odd(x: int) -> Any:
    return To("vip", x) if x % 2 else x


def to_nowhere(x: int) -> Any:
    return To("nowhere", x)


def mark(x: Any) -> Any:
    """Write into the meta."""
    current_call().meta["mark"] = x
    return x


def marked(x: Any) -> Any:
    """Read the meta, and add to it."""
    meta = current_call().meta
    meta["seen"] = meta.get("seen", 0) + 1
    return x, meta.get("mark"), meta["seen"]


def marked_twice(x: Any) -> Iterator[Any]:
    meta = current_call().meta
    for i in range(2):
        meta["mark"] = (x, i)
        yield x


async def marked_soon(x: Any) -> Any:
    return x, current_call().meta.get("mark")


def meta_of(x: Any) -> Any:
    return x, dict(current_call().meta)


def emitting(x: int) -> int:
    call = current_call()
    call.emit("db", ("row", x))
    if x % 2:
        call.emit("log", f"odd {x}")
    return x


def emitting_nowhere(x: int) -> int:
    current_call().emit("nowhere", x)
    return x


def picky(x: Any) -> Any:
    """Fail for some."""
    if sum(map(ord, str(x))) % 5 == 0:
        raise ValueError(f"picky about {x}")
    return x


def pid(_: Any) -> int:
    return os.getpid()


def die_at_3(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


def unsendable_at_3(x: int) -> Any:
    return (i for i in ()) if x < 0 else (lambda: x) if x == 3 else x


def sleep_a_little(x: Any) -> Any:
    time.sleep(0.01)
    return x


def hang_at_3(x: int) -> int:
    if x == 3:
        time.sleep(300)
    return x


class Counting(Stage):
    """Counts the items it has seen, and writes down its life."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _note(self, word: str) -> None:
        with (Path(self.folder) / f"{os.getpid()}").open("a") as file:
            file.write(word + "\n")

    def setup(self) -> None:
        self.n = 0
        self._note("setup")

    def do(self, item: Any) -> Any:
        self.n += 1
        return item, self.n

    def teardown(self) -> None:
        self._note(f"teardown {self.n}")


class BadSetup(Stage):
    def setup(self) -> None:
        raise OSError("no such model")


class CountingUntil3(Counting):
    def do(self, item: Any) -> Any:
        if item == 3:
            os._exit(3)
        return super().do(item)


class BadTeardown(Stage):
    def teardown(self) -> None:
        raise OSError("cannot clean up")


class Passing(Stage):
    """Does nothing, in a worker of its own."""


class StuckUntil(Stage):
    """Waits for a file."""

    def __init__(self, gate: str) -> None:
        self.gate = Path(gate)

    def do(self, item: Any) -> Any:
        end = time.monotonic() + 60
        while not self.gate.exists() and time.monotonic() < end:
            time.sleep(0.01)
        return item


def inc_or_same(x: Any) -> Any:
    return x + 1 if isinstance(x, int) else x


class Emitting(Stage):
    """Emits from a worker of its own."""

    def do(self, item: Any) -> Any:
        return emitting(item)


class HangingAt3(Stage):
    def do(self, item: Any) -> Any:
        return hang_at_3(item)


class DyingAt3(Stage):
    def do(self, item: Any) -> Any:
        return die_at_3(item)


def inc_first(pair: tuple[int, Any]) -> tuple[int, Any]:
    return pair[0] + 1, pair[1]


class Unreadable:
    """Pickled without a complaint, never unpickled."""

    def __reduce__(self) -> Any:
        return _unreadable, ()


def _unreadable() -> Any:
    raise OSError("cannot be read")


def unreadable(_: Any) -> Any:
    return Unreadable()


def yields_then_raises(x: Any) -> Iterator[Any]:
    yield x
    raise ZeroDivisionError


def yields_then_dies(x: Any) -> Iterator[Any]:
    yield x
    os._exit(5)


class BadDo(Stage):
    def do(self, item: Any) -> Any:
        raise ZeroDivisionError


class Heavy:
    """Says that it is large."""

    nbytes = 8 << 20


def yields_buffers(x: Any) -> Iterator[Any]:
    yield Heavy()


def last_byte(data: Any) -> int:
    return bytes(data)[-1]


def dies_reading(data: Any) -> None:
    last_byte(data)
    os._exit(1)


def reports_and_waits() -> None:
    current_call().report(os.getpid())
    time.sleep(300)


def counts_for_ever(x: int) -> Iterator[int]:
    while True:
        yield x
        x += 1


def yields_megabytes(_: Any, log: str) -> Iterator[bytes]:
    while True:
        with Path(log).open("a") as file:
            file.write(".")
        yield bytes(1 << 20)


def several_hundred(x: int) -> Iterator[Any]:
    for i in range(100 * x):
        yield x, i


def yields_slowly_then_dies(x: Any) -> Iterator[Any]:
    yield x
    time.sleep(0.1)
    yield x
    os._exit(5)


class Frame:
    """A large item that refuses to be rebuilt in the process whose id it has."""

    def __init__(self, number: int, not_in: int, data: bytes | bytearray | memoryview = b"") -> None:
        self.number = number
        self.not_in = not_in
        self.data = data or bytearray([number % 256]) * FRAME

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _frame, (self.number, self.not_in, pickle.PickleBuffer(self.data))


FRAME = 1 << 18
"""Bytes of a frame."""


def _frame(number: int, not_in: int, data: Any) -> Frame:
    if os.getpid() == not_in:
        raise RuntimeError("this process was to pass it on unopened")
    return Frame(number, not_in, data)


def framed(number: int, not_in: int = -1) -> Frame:
    """Make a frame."""
    return Frame(number, not_in)


def next_frame(frame: Frame) -> Frame:
    """Make another frame, after writing into the one that came."""
    memoryview(frame.data)[0] = 0
    return Frame(frame.number + 1, frame.not_in)


def same_frame(frame: Frame) -> Frame:
    """Pass a frame on."""
    return frame


def frames(number: int, not_in: int = -1) -> Iterator[Frame]:
    """Yield frames."""
    for i in range(3):
        yield Frame(10 * number + i, not_in)


def read_frame(frame: Frame) -> tuple[int, int]:
    """Say which frame it is, and what the first byte is."""
    return frame.number, memoryview(frame.data)[0]


def read_frames(batch: Any) -> list[tuple[int, int]]:
    """Read each."""
    return [read_frame(frame) for frame in batch]


def number_of(frame: Frame) -> int:
    """Give its number."""
    return frame.number


def to_odd_or_even(frame: Frame) -> Any:
    """Send it to the branch of its kind."""
    return To("odd" if frame.number % 2 else "even", frame)


def marked_frame(frame: Frame) -> Frame:
    """Write its number into its meta."""
    meta = current_call().meta
    meta["number"] = frame.number
    return frame


def meta_and_number(frame: Frame) -> tuple[Any, int]:
    """Give both."""
    return current_call().meta["number"], frame.number


def fail_at_3(frame: Frame) -> Frame:
    """Raise for one of them."""
    if frame.number == 3:
        raise ValueError("three")
    return frame


class Hosting(Stage):
    """Passes frames on."""

    def do(self, item: Frame) -> Frame:
        return item


def die_once_with_frame(path: str, frame: Frame) -> Frame:
    """Kill its worker, the first time."""
    if frame.number == 2 and not os.path.exists(path):
        Path(path).touch()
        os._exit(1)
    return frame
