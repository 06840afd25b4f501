"""What a worker sees of the world around it: the parent's, as of the moment the worker was started.

A fork server froze its own surroundings long ago, so the environment, the warning filters and the umask travel with
every start.  ``sys.path``, ``sys.argv`` and the working directory travel in multiprocessing's preparation data.

The second half makes a process a worker: a session of its own, no terminal, plain signal handlers.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's own wrappers make two enum members per call, and there are 64 signals
import os
import re
import signal
import sys
import time
import warnings

TYPE_CHECKING = False  # workers import this file: typing and dataclasses would cost them milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    _Pattern: TypeAlias = tuple[str, int] | None
    _Filter: TypeAlias = tuple[str, _Pattern, tuple[str, str], _Pattern, int]


class Surroundings:
    """What is taken along from the parent to a worker; plain values only, never changed."""

    __slots__ = ("environ", "filters", "main", "umask")

    def __init__(
        self,
        environ: dict[str, str],
        filters: list[_Filter],
        umask: int | None,
        main: tuple[str | None, str | None],
    ) -> None:
        self.environ = environ
        self.filters = filters
        self.umask = umask
        self.main = main

    @classmethod
    def capture(cls, environ_defaults: Mapping[str, str]) -> Surroundings:
        """Describe this process; `environ_defaults` fills in variables that the user has not set."""
        return cls({**environ_defaults, **_environ()}, _describe_filters(), _umask(), _main())

    def apply(self) -> None:
        """Make this process look like the described one."""
        self._apply_environ()
        if self.umask is not None:
            os.umask(self.umask)
        if self.filters != _describe_filters():  # compiling patterns is dear, and most often they are equal
            warnings.filters[:] = [_rebuild_filter(f) for f in self.filters]  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]  # drops what has been decided before
        self._apply_main()
        reseed()

    def _apply_environ(self) -> None:
        here = dict(os.environ)
        if here == self.environ:
            return
        for name in here.keys() - self.environ.keys():
            del os.environ[name]
        for name, value in self.environ.items():
            if here.get(name) != value:
                os.environ[name] = value
        if here.get("TZ") != self.environ.get("TZ"):
            time.tzset()

    def _apply_main(self) -> None:
        """Say where the program is, for whoever starts processes from a call by the standard means.

        Their functions come from ``__main__``, so `multiprocessing` runs the program's file in them, as in any child
        that is spawned. The workspace's ``__main__`` takes over what is put here. A forked worker has it.
        """
        file, name = self.main
        main: Any = sys.modules["__main__"]
        if file is not None and getattr(main, "__file__", None) is None:
            main.__file__ = file
        if name is not None and getattr(main, "__spec__", None) is None:
            from importlib.machinery import ModuleSpec

            main.__spec__ = ModuleSpec(name, None, origin=file)


def _main() -> tuple[str | None, str | None]:
    """Return file and module name of the program; neither, if it has no guard.

    Without ``if __name__ == "__main__"`` a process that ran the file would do its work once more. With ezflow a
    program needs no guard, so such processes are left without the functions of ``__main__`` instead.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    name = getattr(getattr(main, "__spec__", None), "name", None)
    return (file, name) if isinstance(file, str) and _has_guard(file) else (None, None)


_guards: dict[str, bool] = {}


def _has_guard(file: str) -> bool:
    """Say whether a file compares its name with that of a main program: roughly, and once."""
    found = _guards.get(file)
    if found is None:
        try:
            with open(file, "rb") as source:
                text = source.read()
            found = file.endswith(".pyc") or (b"__name__" in text and b"__main__" in text)
        except OSError:
            found = False
        _guards[file] = found
    return found


def preparation_data(name: str) -> dict[str, Any]:
    """Return what `multiprocessing.spawn.prepare` needs, without anything that would run the user's `__main__`.

    Unlike the standard function it leaves ``''`` in `sys.path` as it is (the working directory is the parent's),
    works in a deleted directory, and does not fix the program's default start method as a side effect.
    """
    import multiprocessing
    from multiprocessing import process, spawn, util

    spawn._check_not_importing_main()  # type: ignore[attr-defined]  # an unguarded pool in a child of the user's
    data: dict[str, Any] = {
        "name": name,
        "authkey": process.current_process().authkey,
        "log_to_stderr": util._log_to_stderr,  # type: ignore[attr-defined]
        "sys_path": list(sys.path),
        "orig_dir": process.ORIGINAL_DIR,  # type: ignore[attr-defined]
    }
    if util._logger is not None:  # type: ignore[attr-defined]
        data["log_level"] = util._logger.getEffectiveLevel()  # type: ignore[attr-defined]
    if hasattr(sys, "argv"):
        data["sys_argv"] = list(sys.argv)
    method = multiprocessing.get_start_method(allow_none=True)
    if method is not None:
        data["start_method"] = method
    try:
        data["dir"] = os.getcwd()
        os.stat(data["dir"])
    except OSError:  # deleted; the worker stays where it is
        data.pop("dir", None)
    return data


def _environ() -> dict[str, str]:
    """Copy the environment, while another thread may be changing it."""
    while True:
        try:
            return dict(os.environ)
        except (KeyError, RuntimeError):
            pass


# --- warning filters ---------------------------------------------------------------------------------------------


class _ByName(type):
    """A warning category that is known by its name only, so that no module is imported to restore a filter."""

    def __subclasscheck__(cls, other: type) -> bool:
        wanted = (cls.__module__, cls.__qualname__)
        return any((c.__module__, c.__qualname__) == wanted for c in other.__mro__)


def _describe_filters() -> list[_Filter]:
    described: list[_Filter] = []
    filters: list[Any] = list(warnings.filters)
    for action, message, category, module, line in filters:
        described.append(
            (action, _describe_pattern(message), (category.__module__, category.__qualname__),
             _describe_pattern(module), line)
        )  # fmt: skip
    return described


def _describe_pattern(pattern: Any) -> _Pattern:
    """Filters made by the interpreter itself hold plain strings, all others compiled patterns."""
    if pattern is None:
        return None
    if isinstance(pattern, str):
        return (pattern, -1)
    return (pattern.pattern, pattern.flags)


def _rebuild_filter(described: _Filter) -> tuple[str, Any, Any, Any, int]:
    action, message, (module_name, qualname), module, line = described
    category: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        category = getattr(category, part, None)
    if not isinstance(category, type):
        name = qualname.rpartition(".")[2]
        category = _ByName(name, (Warning,), {"__module__": module_name, "__qualname__": qualname})
    return action, _rebuild_pattern(message), category, _rebuild_pattern(module), line


def _rebuild_pattern(described: _Pattern) -> Any:
    if described is None:
        return None
    pattern, flags = described
    return pattern if flags == -1 else re.compile(pattern, flags)


# --- small things ------------------------------------------------------------------------------------------------


def _umask() -> int | None:
    """Read the umask; `os.umask` could only read it by changing it for all threads, so not outside Linux."""
    try:
        with open("/proc/self/status", "rb") as status:
            for row in status:
                if row.startswith(b"Umask:"):
                    return int(row.split()[1], 8)
    except (OSError, ValueError):
        pass
    return None


def reseed() -> None:
    """Give this process random streams of its own: Python's, and NumPy's legacy one if it is already imported.

    Python reseeds `random` in a forked child, NumPy does not.  A module imported later seeds itself.
    """
    if (random := sys.modules.get("random")) is not None:
        random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()


# --- being a worker ----------------------------------------------------------------------------------------------


def isolate() -> None:
    """Cut this process off from its parent's terminal, session, signal mask and wake-up descriptor.

    SIGINT gets Python's own handler, as in any Python program: `_thread.interrupt_main`, `asyncio.run` and calls
    that send it to themselves then behave as usual.  (Ignoring it would be inherited by every program a call
    starts.)  Terminal Ctrl-C does not arrive, because the session has no terminal.  SIGTERM kills.
    """
    try:
        os.setsid()
    except PermissionError:
        pass  # already the leader of a session
    null = os.open(os.devnull, os.O_RDONLY)
    if null != 0:  # a group member that reads from a terminal would stop the whole group for ever
        os.dup2(null, 0)
        os.close(null)
    else:
        os.set_inheritable(0, True)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide exit codes from subprocess
    # A Ctrl-C that came while SIGINT was blocked is pending: ignoring it drops it, then the mask may go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)


def drop_handlers() -> None:
    """Put the default action in place of every Python signal handler, which a forked child has inherited."""
    for number in range(1, _signal.NSIG):
        try:
            if callable(_signal.getsignal(number)):  # the default actions are plain numbers there
                _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):  # numbers the C library keeps for itself
            pass
