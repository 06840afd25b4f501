"""One run of a flow: a machine, the calls under way, and the thread that moves them, which is the consumer's.

::

    next ──▶ outputs there? ── yes ──▶ an item
                │ no
                ▼
             answers in the inbox → the machine → jobs → hands ─┐
             credit? → the source → the machine                 │ calls
                │ nothing to do                                 ▼
                ▼                                         pools, executors
             wait for the bell ◀── ring ── listener ◀───────────┘ any thread

The listener is all that other threads touch: they append to its inbox, and ring if somebody waits.
"""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque
from concurrent.futures import CancelledError
from contextlib import ExitStack
from functools import partial
from time import monotonic, perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

from .._loop import call_in_loop
from .._rest import rest
from ..result import Result
from .counting import Ledger
from .feeder import Feeder
from .hand import PieceHere
from .hands import Hands
from .items import Failure, noted
from .machine import Machine, Settings
from .packed import told
from .plan import build
from .side import Sides

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Final

    from .._progress import Meter
    from ..graph.nodes import Node
    from .hand import PieceSink
    from .packet import Packet
    from .work import Job

PATIENCE: Final = 2_000_000
"""Nanoseconds that a packet waits to be filled by a slow source.  Larger: later first outputs; smaller: more calls (chosen)."""


class Listener:
    """Hears ends of jobs on any thread."""

    def __init__(self) -> None:
        self.inbox: deque[Any] = deque()
        self.expected: dict[Any, tuple[Any, Any]] = {}
        self._bell = allocate_lock()
        self._bell.acquire()
        self._has_news = False
        self._is_awaited = False
        self.is_stopped = False
        """Whether nobody wants the end of the run any more."""
        self._waker: Callable[[], None] | None = None

    def expect(self, slot: Any, job: Any, hand: Any) -> None:
        """Note whose end a slot will bring (the mover's thread)."""
        self.expected[slot] = job, hand

    def finished(self, slot: Any) -> None:
        """Hear the end of a job (any thread)."""
        self.inbox.append(slot)
        self.ring()

    def tell(self) -> None:
        """Hear of a source that there is something (any thread)."""
        self._has_news = True
        self.ring()

    def stop(self) -> None:
        """Hear that the run is to end (any thread); the mover ends it, as soon as the source lets it."""
        self.is_stopped = True
        self.tell()

    def ring(self) -> None:
        """Wake the mover, if it waits."""
        if self._is_awaited:
            self._is_awaited = False
            try:
                self._bell.release()
            except RuntimeError:
                pass  # rung already
        waker, self._waker = self._waker, None
        if waker is not None:
            waker()

    def wait(self, seconds: float | None) -> None:
        """Wait until something is in the inbox, or for so long."""
        self._is_awaited = True
        if (
            not self.inbox and not self._has_news
        ):  # looked at after saying so: neither side can miss the other
            rest(self._bell, seconds)
        self._is_awaited = self._has_news = False

    async def wait_async(self, seconds: float | None, also: Any = None) -> None:
        """Wait in an event loop; also for a task of the source."""
        from asyncio import FIRST_COMPLETED, get_running_loop, wait

        loop = get_running_loop()
        future = loop.create_future()
        self._waker = partial(call_in_loop, loop, _resolve, future)
        if self.inbox or self._has_news:
            self._has_news = False
            return
        waited = [future] if also is None else [future, also]
        await wait(waited, timeout=seconds, return_when=FIRST_COMPLETED)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Run:
    """A run of a flow, moved by one thread at a time.

    Parameters
    ----------
    root : Node or None
        The stages.
    source : iterator
        Where items come from.
    on : object
        Where stages run that say nothing else.
    settings : dict
        Of `Settings`, without the number of workers.
    n_first : int
        Number of the first stage.
    is_live : bool
        Whether a thread of its own advances the source.
    sides : dict of str and Node, optional
        The stages of side streams.
    hooks : dict of str and tuple of functions, optional
        Who hears of the run.
    """

    def __init__(
        self,
        root: Node | None,
        source: Iterator[Any] | AsyncIterator[Any],
        on: Any,
        settings: dict[str, Any],
        n_first: int,
        *,
        is_live: bool = False,
        sides: dict[str, Node] | None = None,
        hooks: dict[str, tuple[Callable[..., object], ...]] | None = None,
    ) -> None:
        self.listener = Listener()
        self._source: Any = source
        self._hands = Hands(on, self.listener)
        how = Settings(
            n_workers=self._hands.n_workers,
            is_async=on == "async",
            is_inline=self._hands.is_inline,
            names=tuple(sides or ()),
            **settings,
        )
        self.machine = Machine(how)
        self.machines = [self.machine]
        self._sides: Sides | None = None
        self._hooks = hooks or {}
        self.machine.clock = perf_counter_ns
        self.ledger = Ledger(self.machines)
        self.views: list[Meter] = []
        self.is_over = False
        self.began = perf_counter()
        try:
            build(self.machine, root, n_first)
            if sides:
                self._sides = Sides(self.machine, sides, how)
                self.machines += self._sides.machines
            is_live = is_live or any(
                collect.max_wait is not None for machine in self.machines for collect in machine.collects
            )
            if is_live and not hasattr(source, "__anext__"):  # asyncio waits for those itself
                self._source = feeder = Feeder(self._source, self.listener)
                feeder.start()  # not before it is known: it may be interrupted, and is stopped then
            self._call("on_start")
        except BaseException as error:
            self._fail(error)
            raise

    # ---------------------------------------------------------------- moving

    def take(self) -> list[Any] | None:
        """Give the next outputs, None at the end; waits."""
        self._note_consumer()
        try:
            self._mover = get_ident()
            while True:
                if self.listener.is_stopped and not self.is_over:
                    raise CancelledError
                found = self._next()
                if found is not None or self.is_over:
                    return found
                if not self._advance():
                    self.listener.wait(self._patience())
                self._tick()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._mover = None

    _mover: int | None = None
    """The thread that moves it at the moment."""

    def stop_elsewhere(self) -> bool:
        """Have the thread that moves it stop it, if that is another one; tell whether it is."""
        self.listener.stop()  # said before it looks: one that begins now looks after saying that it does
        return self._mover not in (None, get_ident())

    async def take_async(self) -> list[Any] | None:
        """Give the next outputs, None at the end; waits in the event loop."""
        pending: Any = None
        self._note_consumer()
        if self._hands.loop is None:
            from asyncio import get_running_loop

            self._hands.loop = get_running_loop()
        try:
            while True:
                found = self._next()
                if found is not None or self.is_over:
                    return found
                if not hasattr(self._source, "__anext__"):
                    if not self._advance():
                        await self.listener.wait_async(self._patience())
                else:
                    pending = self._pending
                    if pending is None and self.machine.wants() > 0 and not self._is_full:
                        from asyncio import ensure_future

                        pending = self._pending = ensure_future(_next_of(self._source))
                        self._asked = perf_counter_ns()
                    if pending is not None and pending.done():
                        self._pending = None
                        self.ledger.source_nanos += perf_counter_ns() - self._asked
                        items = pending.result()
                        self.machine.put(items) if items else self.machine.end()
                        self._post()
                    else:
                        await self.listener.wait_async(self._patience(), pending)
                self._tick()
        except BaseException as error:
            self._fail(error)
            raise

    def _next(self) -> list[Any] | None:
        """Give outputs that are there after the answers that came, and note when they were given, or that all is over."""
        self.drain()
        found = None if self.is_over else self._found()
        if found is not None or self.is_over:
            self._given = perf_counter_ns()
        return found

    _pending: Any = None
    _held: Packet | None = None
    _given: int | None = None
    """Nanoseconds at which the consumer got what it works on."""
    _asked = 0
    """Nanoseconds at which an async source was asked."""

    def _note_consumer(self) -> None:
        given, self._given = self._given, None
        if given is not None:
            self.ledger.consumer_nanos += perf_counter_ns() - given

    def drain(self) -> None:
        """Take the answers that are there, and start what may start then."""
        inbox = self.listener.inbox
        if not inbox or self.is_over:
            return
        expected = self.listener.expected
        while inbox:
            slot = inbox.popleft()
            if type(slot) is PieceHere:
                self._take_piece(slot.sink)
                continue
            job, hand = expected.pop(slot)
            machine = job.op.machine
            hand.ended(job)
            if slot.cancelled:
                raise CancelledError
            sealed = slot.sealed
            assert sealed is not None
            slot.sealed = None
            value: Any
            value, error = sealed.open()
            if error is None:
                machine.done(job, value, sealed.micros)
            elif isinstance(error, CancelledError):
                raise error
            else:
                try:
                    cause = _set_up_error(error, job)
                    if cause is not None:
                        raise noted(cause, job.op.note, told(job.items[0]))
                    machine.failed(job, error)
                finally:
                    error = cause = None
        self._post()

    def _take_piece(self, sink: PieceSink) -> None:
        value: Any
        value, error = sink.pieces.popleft().open()
        try:
            if (
                error is not None
            ):  # it could not be unpickled; its generator is stopped with the run, or yields on
                raise noted(error, sink.job.op.note, told(sink.job.items[0]))
        finally:
            error = None
        streams: Any = sink.job.op
        streams.piece(sink.job, *value)
        streams.machine.move()

    def _post(self) -> None:
        if self._sides is not None:
            self._sides.move()
        for machine in self.machines:
            for job in machine.jobs():
                self._hands.start(job, machine)

    @property
    def _is_full(self) -> bool:
        """Whether a side stream cannot keep up."""
        return self._sides is not None and self._sides.is_full

    def _advance(self) -> bool:
        """Advance the source by a packet, if there is credit and the workers could do with more; say whether."""
        machine = self.machine
        if machine.n_running >= machine.settings.n_running or self._is_full:
            return False
        n = machine.wants()
        if n <= 0:
            return False
        items: list[Any] = []
        if isinstance(self._source, Feeder):
            fed = self._source.take(n)
            self.ledger.source_nanos = self._source.nanos
            if fed is None:
                machine.end()
            elif fed:
                machine.put(fed)
            self._post()
            return fed is None or bool(fed)
        began = perf_counter_ns()
        end = began + PATIENCE
        has_ended = False
        for item in self._source:
            items.append(item)
            if len(items) >= n or perf_counter_ns() > end:
                break
        else:
            has_ended = not items
            self._source = iter(())  # not asked again: an iterator over a pipe or a counter may begin anew
        self.ledger.source_nanos += perf_counter_ns() - began
        machine.end() if has_ended else machine.put(items)
        self._post()
        return True

    def advance_ahead(self) -> None:
        """Keep the workers busy while the consumer works off what is there."""
        if self.is_over:
            return
        began = perf_counter_ns()
        try:
            self._mover = get_ident()
            if self.listener.is_stopped:
                return
            self.drain()
            machine = self.machine
            while machine.n_running < machine.settings.n_running // 2 and self._advance():
                if len(machine.outputs) > machine.settings.n_workers:
                    break
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._mover = None
        if self._given is not None:  # that was not the consumer's time
            self._given += perf_counter_ns() - began

    def _found(self) -> list[Any] | None:
        machine = self.machine
        held, self._held = self._held, None
        if held is not None:  # the consumer asks for more, so it has taken that
            machine.gone(held)
        if machine.outputs:
            self._held = packet = machine.outputs.popleft()
            items, packet.items = packet.items, []
            return self._given_out(items)
        sides = self._sides
        if sides is not None and sides.failures:
            failures: list[Any] = sides.failures
            sides.failures = []
            machine.n_failed += len(failures)
            return self._given_out(failures)
        if machine.has_all and not self.is_over:
            if sides is not None:
                is_over = sides.end()
                self._post()
                if not is_over or sides.failures:
                    return self._found() if sides.failures else None
            self._finish()
        return None

    def _given_out(self, items: list[Any]) -> list[Any]:
        """Count what the consumer gets, and tell who wants to hear of it."""
        self.machine.n_out += len(items)
        if self._hooks:
            for item in items:
                if type(item) is Failure:
                    self._call("on_error", item.error)
                else:
                    self._call("on_item", item)
        return items

    def _call(self, name: str, *args: Any) -> None:
        for fn in self._hooks.get(name, ()):
            fn(*args)

    def _patience(self) -> float | None:
        due = min((due for one in self.machines if (due := one.due()) is not None), default=None)
        return None if due is None else due - monotonic()

    def _tick(self) -> None:
        now = monotonic()
        is_due = False
        for machine in self.machines:
            due = machine.due() if machine.collects else None
            machine.now = now
            if due is not None and due <= now:
                machine.tick(now)
                is_due = True
        if is_due:
            self._post()

    # ---------------------------------------------------------------- the end

    def _finish(self) -> None:
        self.is_over = True
        self._hands.finish()
        self.close()

    def _fail(self, error: BaseException) -> None:
        """Stop everything because of an error, and tell who wants to hear of it."""
        was_over = self.is_over
        try:
            if not was_over and isinstance(error, Exception):
                self._call("on_error", error)
        finally:
            self.close()

    def close(self) -> None:
        """Stop everything; safe to repeat, and from a finaliser."""
        hooks, self._hooks = self._hooks, {}
        try:
            self._close()
        finally:
            for fn in hooks.get("on_finish", ()):
                fn(self.ledger.statistics())

    def _close(self) -> None:
        self.is_over = True
        self.ledger.close()
        views, self.views = self.views, []
        for view in views:
            view.close()
        hands, self._hands = self._hands, _NO_HANDS
        source, self._source = self._source, iter(())
        with ExitStack() as closing:  # from the last one up; all of them, whatever one of them raises
            closing.callback(self.listener.tell)  # whoever waits for an output: nothing comes any more
            closing.callback(self._close_source, source, hands.loop)
            for collect in [one for machine in self.machines for one in machine.collects]:
                close = getattr(collect.collector, "close", None)
                if close is not None:
                    closing.callback(close)
            closing.callback(self.listener.inbox.clear)
            closing.callback(self.listener.expected.clear)
            closing.callback(hands.close)

    def _close_source(self, source: Any, loop: Any) -> None:
        """Close the source, if it is a generator."""
        close = getattr(source, "close", None)
        if close is not None and (hasattr(source, "gi_frame") or isinstance(source, Feeder)):
            try:
                close()
            except ValueError:
                pass  # it is running: its own error ends the run
        pending, self._pending = self._pending, None
        if loop and (pending is not None or getattr(source, "ag_frame", None) is not None):
            self._leave_loop(loop, pending, source)

    closing: Any = None
    """The task that closes an async source, if one was open at the end."""

    def _leave_loop(self, loop: asyncio.AbstractEventLoop, pending: Any, source: Any) -> None:
        """Have an async source closed in its loop, from which alone it can be awaited."""
        from asyncio import get_running_loop

        def begin() -> None:
            if pending is not None:
                pending.cancel()
            self.closing = loop.create_task(_close_async(pending, source))

        try:
            is_here = get_running_loop() is loop
        except RuntimeError:
            is_here = False
        begin() if is_here else call_in_loop(loop, begin)


class _NoHands:
    """What is left of hands that were closed."""

    loop = False

    def start(self, job: Job, machine: Machine) -> None:
        """Start nothing: the run was closed by a source or a function that it called."""

    def close(self) -> None:
        """Nothing is left."""

    finish = close


_NO_HANDS: Any = _NoHands()


async def _next_of(source: AsyncIterator[Any]) -> list[Any]:
    """Give the next item of an async source in a list, which is empty at its end."""
    try:
        return [await source.__anext__()]
    except StopAsyncIteration:
        return []


async def _close_async(pending: Any, source: Any) -> None:
    """Wait for the end of the wait for an async source's next item, and close the source if it is a generator."""
    from asyncio import wait

    if pending is not None:
        await wait([pending])
        if not pending.cancelled():
            pending.exception()  # it came too late for anybody
    if hasattr(source, "ag_frame"):
        await source.aclose()


def _set_up_error(error: BaseException, job: Any) -> BaseException | None:
    """Give the error of a stage that could not be set up, which ends the run whatever becomes of failures."""
    from concurrent.futures import BrokenExecutor

    from ..errors import WorkerDied
    from .nodes import Living

    if (
        isinstance(error, BrokenExecutor)
        and not isinstance(error, WorkerDied)
        and isinstance(job.op.extra, Living)
    ):
        return error.__cause__
    return None


def result_of(item: Any) -> Result[Any]:
    """Put an output into its envelope."""
    if type(item) is Failure:
        return Result(err=item.error, item=item.item, stage=item.note)
    return Result(item)
