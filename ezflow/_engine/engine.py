"""The running part of a pool, as other threads see it: the executor's, the users', those of finalisers.

The user's thread makes objects, but opens no descriptor and starts no thread
but the launcher (`launch`); the dispatcher opens what it needs.

The engine knows no executor, so an executor that nobody holds is collected
and its finaliser closes the engine.
"""

from __future__ import annotations

import os
import threading
from _thread import allocate_lock
from itertools import count

from .. import errors
from .._rest import join
from . import exit as exits
from .dispatcher import Dispatcher
from .launch import Launch
from .postbox import Word

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .._call import Call
    from .._wire.codec import Definition
    from ..future import Future
    from ..statistics import Statistics
    from .child import Starter
    from .machine import Machine


class Engine(Dispatcher):
    """The running part of a pool: dispatcher thread, starter thread, workers.

    Parameters
    ----------
    machine : Machine
        Decides; nobody else calls it.
    starter : Starter
        Makes processes.
    needs : callable
        Gives the definitions that travelled with the process made last.
    name : str
        Prefix of the names of its threads.
    cancel_running : bool
        Whether `Future.cancel` stops a call that has started.
    mark : bytes or None
        What workers write behind unfinished lines; None if the pool does not forward their output.
    """

    def __init__(
        self,
        machine: Machine[Call],
        starter: Starter,
        needs: Callable[[], Iterable[Definition]],
        *,
        name: str,
        cancel_running: bool,
        mark: bytes | None = None,
    ) -> None:
        Dispatcher.__init__(self, machine, starter, needs, name=name, mark=mark)
        self._cancel_running = cancel_running
        self._pid = os.getpid()
        self.next_id = count(1).__next__
        self._name = name
        self._dispatcher: threading.Thread | None = None
        self.ready = False  # its threads run, and submitting is allowed: what `submit` looks at each time
        self._launch = Launch()

    # ------------------------------------------------------------ its threads

    def start(self) -> None:
        """Start the threads; repeating it, also after an exception tore it, is harmless.

        Raises
        ------
        PoolBroken
            If there can be no more threads.  Nothing of the attempt is left.
        """
        if self._launch.done or self._pid != os.getpid() or self._is_own_thread():
            return
        self._starter.prepare()
        try:
            self._launch.run(self._start_threads)
        except RuntimeError as error:  # no memory for threads, or the interpreter is about to end
            raise errors.pool_broken(error, "start") from error

    def _start_threads(self) -> None:
        exits.watch(self)
        if exits.is_exiting():
            raise RuntimeError("the interpreter is about to end")
        self._maker.start(f"{self._name}-starter", self.tell)
        dispatcher = threading.Thread(target=self._main, name=f"{self._name}-dispatcher", daemon=False)
        self._dispatcher = dispatcher
        try:
            if self._echo is not None:
                self._echo.start()
            dispatcher.start()
        except BaseException:
            if self._echo is not None:
                self._echo.give_up()
            self._dispatcher = None
            self._maker.give_up()
            raise
        self.ready = True

    def _is_own_thread(self) -> bool:
        """Tell whether this thread is one that others wait for: it must never wait for a start itself."""
        here = threading.get_ident()
        echo = None if self._echo is None else self._echo.thread
        own = (self._dispatcher, self._maker.thread, echo)
        return any(thread is not None and thread.ident == here for thread in own)

    def disown(self) -> None:
        """Take no more calls through the short way; the long way says why."""
        self.ready = False

    @property
    def dispatcher(self) -> threading.Thread | None:
        """The dispatcher thread, once it was started."""
        return self._dispatcher

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every worker is gone and every callback has run; say whether they are."""
        try:
            self.start()  # an interrupt may have torn it; what was accepted is to end all the same
        except errors.PoolBroken:
            self._empty_inbox()
            self._starter.close()  # under fork, a process or two wait for work already
            return True
        echo = None if self._echo is None else self._echo.thread
        threads = (self._dispatcher, self._maker.thread, echo, self.callbacks.thread)
        started = (one for one in threads if one is not None and one.ident is not None)
        return all(join(one, timeout) for one in started if one is not threading.current_thread())

    def when_ended(self, fn: Callable[[], object]) -> None:
        """Call `fn`, which must not block, as soon as every worker is gone: on the dispatcher, or at once."""
        self._enders.append(fn)
        if self._ended:
            self._call_enders()

    # ------------------------------------------------------------ its end

    def close(self, *, cancel: bool) -> None:
        """Take no more calls; end after those accepted, or after those started."""
        self.tell(Word.CLOSE, cancel)

    def kill(self, signum: int) -> None:
        """End now: cancel what waits, signal every worker."""
        self.tell(Word.KILL, signum)

    def stop_all(self) -> None:
        """Take no more calls, and cancel all: also those that run are stopped."""
        self.tell(Word.STOP)

    # ------------------------------------------------------------ what it does

    def workers(self) -> dict[int, Any]:
        """Give the processes that live, by pid, once those that were asked for until now have been made."""
        if self._launch.done and not self.closed and not self._is_own_thread() and self._pid == os.getpid():
            seen = allocate_lock()
            seen.acquire()
            self.tell(Word.LOOK, seen)
            while not seen.acquire(timeout=1.0) and not self.closed:
                pass
        return {link.child.pid: link.child.process for link in list(self._links.values())}

    def stacks(self, seconds: float) -> dict[int, str]:
        """Give what every worker does now, by pid."""
        from .stacks import Inquiry

        inquiry = Inquiry()
        if not self._launch.done or self.closed:
            return {}
        self.check_waiting()
        self.tell(Word.STACKS, inquiry)
        return inquiry.wait(seconds)

    def counts(self) -> dict[str, int]:
        """Give numbers for `repr` and tests; a snapshot that may be torn."""
        machine = self._machine
        return {
            "workers": len(self._links),
            "pending": machine.n_live + len(self.inbox),
            "done": machine.n_done,
            "taken_back": machine.n_stolen,
            "died": machine.n_died,
        }

    def statistics(self) -> Statistics:
        """Give what was done so far; a snapshot that may be torn."""
        from ..statistics import Durations, Statistics

        machine, tally = self._machine, self._tally
        links = list(self._links.values())
        running = machine.n_running()
        calls = {}
        for label, timing in list(tally.timings.items()):
            n = sum(timing.classes)
            if n:
                p50, p95 = timing.quantiles(0.5, 0.95)
                calls[label] = Durations(n, timing.micros * 1e-6 / n, p50 * 1e-6, p95 * 1e-6)
        return Statistics(
            queued=max(0, machine.n_live - running) + len(self.inbox),
            running=running,
            done=tally.n_done,
            failed=tally.n_failed,
            cancelled=tally.n_cancelled,
            workers=len(links),
            restarts=tally.n_restarts,
            died=machine.n_died,
            bytes_sent=tally.n_sent + sum(link.n_sent for link in links),
            bytes_received=tally.n_received + sum(link.n_received for link in links),
            calls=calls,
        )

    @property
    def is_broken(self) -> bool:
        """Whether the pool has given up."""
        return self._machine.broken

    # ------------------------------------------------------------ desk of the futures

    def check_waiting(self) -> None:
        """Raise if nobody would ever answer: in another process, and on a thread that has to bring the answer."""
        if os.getpid() != self._pid:
            raise errors.wrong_process(self._pid)
        if self._is_own_thread():  # a finaliser that the garbage collector has run here
            raise errors.waits_for_itself()

    def is_running(self, call: Call) -> bool:
        """Tell whether the call is the oldest unanswered one of a worker."""
        place = call.place
        if not isinstance(place, int):
            return False
        try:
            return next(iter(self._machine.flight(place).values()), None) is call
        except RuntimeError:  # the dispatcher changed it under our eyes
            return False

    def cancel(self, call: Call, future: Future[Any]) -> bool:
        """Cancel the call of a future."""
        if os.getpid() != self._pid:
            future._drop_here()
            return True
        if self._cancel_running:
            future._drop_here()
            if future.cancelled():
                self.tell(Word.CANCEL, call, True, None)
                return True
            return False
        if future.done():
            return future.cancelled()
        answer = allocate_lock()
        answer.acquire()
        self.tell(Word.CANCEL, call, False, answer)
        if threading.current_thread() is self._dispatcher:
            self._drain_inbox()
        elif not self.closed:
            while (
                not answer.acquire(timeout=1.0)
                and self._dispatcher is not None
                and self._dispatcher.is_alive()
            ):
                pass
        return future.cancelled()

    def stop(self, call: Call) -> None:
        """Cancel a call whatever it does; its sink expects no word of it."""
        self.tell(Word.CANCEL, call, True, None)

    def grant(self, call: Call, n: int) -> None:
        """Let the generator of a stream go on by so many items."""
        self.tell(Word.GRANT, call, n)

    def close_stream(self, call: Call) -> None:
        """End a stream: its generator is closed at its next item, and stopped if that does not come in time."""
        self.tell(Word.DROP, [call])
        self.tell(Word.GRANT, call, 0)

    def cancel_waiting(self, calls: Iterable[Call]) -> None:
        """Cancel those that have not started; never waits for the answer."""
        self.tell(Word.DROP, list(calls))

    def call_back(self, fn: Callable[[Any], object], future: Future[Any]) -> None:
        """Run a user's callback on the callback thread."""
        self.callbacks.run(fn, future)

    def prepare_callbacks(self) -> None:
        """Start the callback thread."""
        self.callbacks.start()
