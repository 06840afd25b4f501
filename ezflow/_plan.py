"""Options as one `submit` or `map` needs them: checked, with what the worker and the scheduler are to know."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from time import monotonic

from . import errors
from ._engine import events

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call
    from .options import Bar, Options, Retry

_PLANS: dict[Options, Plan] = {}
"""Plans of options that were used lately; most programs use a handful."""

_MOST_PLANS = 256


class Plan:
    """What is to be done with the calls of one set of options."""

    __slots__ = (
        "_extras",
        "_retry",
        "asynced",
        "background",
        "name",
        "priority",
        "progress",
        "results",
        "sealed",
        "star",
        "stream",
        "timeout",
        "unordered",
        "within",
    )

    def __init__(self, options: Options) -> None:
        self.timeout: float | None = options.get("timeout")
        self.within: float | None = options.get("within")
        self.priority: int = options.get("priority", 0)
        self.name: str | None = options.get("named")
        self.progress: Bar | None = options.get("progress")
        self.star = bool(options.get("star"))
        self.stream: int = options.get("stream", 0)
        self.sealed = bool(options.get("sealed"))
        self.results = bool(options.get("results"))
        self.unordered = bool(options.get("unordered"))
        self.background = bool(options.get("background"))
        self.asynced = bool(options.get("asynced"))
        retry: Retry | None = options.get("retry")
        if self.stream:
            excluded = {
                "results": self.results,
                "sealed": self.sealed,
                "background": self.background,
                "asynced": self.asynced,
            }
            for name, given in (*excluded.items(), ("retry", retry is not None and retry.n)):
                if given:
                    raise errors.excluding_options("stream", name)
        self._retry: events.Retry | None = None
        self._extras: dict[str, Any] = {}
        if retry is not None and retry.n:
            self._extras["on"] = retry.on
            self._retry = events.Retry(
                retry.n,
                retry.delay,
                retry.backoff,
                died=any(one in _DEATHS for one in retry.on),
                timed_out=any(issubclass(errors.CallTimeout, one) for one in retry.on),
            )
        if self.stream:
            self._extras["stream"] = self.stream
        if self.sealed:
            self._extras["sealed"] = True
        if self.name is not None:
            self._extras["name"] = self.name
        if self.timeout is not None:
            self._extras["limit"] = self.timeout

    @classmethod
    def of(cls, options: Options) -> Plan:
        """Give the plan of some options."""
        if "progress" in options:
            return cls(options)  # not kept: it may hold the stream to draw on
        try:
            plan = _PLANS.get(options)
        except TypeError:  # an option whose value has no hash
            return cls(options)
        if plan is None:
            if len(_PLANS) >= _MOST_PLANS:
                _PLANS.clear()
            plan = _PLANS[options] = cls(options)
        return plan

    def deadline(self) -> float | None:
        """Give the time by which what is submitted now is to be over."""
        return None if self.within is None else monotonic() + self.within

    def extras(self, deadline: float | None) -> dict[str, Any] | None:
        """Give what the worker is to know of a call."""
        if deadline is not None:
            return {**self._extras, "deadline": deadline}
        return self._extras or None

    def mark(self, call: Call, deadline: float | None) -> None:
        """Tell the scheduler."""
        call.limit = self.timeout
        call.priority = self.priority
        call.retry = self._retry
        if self.name is not None:
            call.label = self.name
        if deadline is not None:
            call.deadline = deadline
            call.within = self.within or 0.0


_DEATHS = (errors.WorkerDied, *(one for one in errors.WorkerDied.__mro__ if issubclass(one, BrokenExecutor)))


def unpack(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Unpack the one argument that `star` takes; further keywords are added."""
    if len(args) != 1:
        raise TypeError(f".star() takes one tuple, list or mapping, not {len(args)} arguments")
    (item,) = args
    if isinstance(item, tuple | list):
        return tuple(item), kwargs
    if isinstance(item, Mapping):
        return (), {**item, **kwargs}
    raise errors.not_unpackable(item)
