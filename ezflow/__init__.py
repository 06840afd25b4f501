"""ezflow: the process pool that you do not have to fight.

The public names are loaded on first use, so that a worker which imports one
engine module does not pay for the whole library.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"

TYPE_CHECKING = False  # typing costs 5 to 20 ms to import
if TYPE_CHECKING:
    from ._engine.current import CurrentCall as CurrentCall
    from ._engine.current import current_call as current_call
    from ._memory.reference import Ref as Ref
    from ._put import put as put
    from ._stream import ItemStream as ItemStream
    from .errors import CallInterrupted as CallInterrupted
    from .errors import CallTimeout as CallTimeout
    from .errors import EzflowError as EzflowError
    from .errors import GraphError as GraphError
    from .errors import PicklingAttributeError as PicklingAttributeError
    from .errors import PicklingError as PicklingError
    from .errors import PicklingTypeError as PicklingTypeError
    from .errors import PoolBroken as PoolBroken
    from .errors import RemoteError as RemoteError
    from .errors import UnpicklingError as UnpicklingError
    from .errors import WorkerDied as WorkerDied
    from .errors import WrongProcess as WrongProcess
    from .executor import ProcessPoolExecutor as ProcessPoolExecutor
    from .future import Future as Future
    from .graph.future import GraphFuture as GraphFuture
    from .graph.graph import Graph as Graph
    from .graph.task import Task as Task
    from .graph.task import each as each
    from .graph.task import pack as pack
    from .graph.task import same as same
    from .graph.task import star as star
    from .graph.task import task as task
    from .graph.typed import EZ as EZ
    from .graph.typed import B as B
    from .graph.typed import Broadcast as Broadcast
    from .graph.typed import P as P
    from .graph.typed import Parallel as Parallel
    from .graph.typed import S as S
    from .graph.typed import Serial as Serial
    from .graph.typed import Zip as Zip
    from .pool import Pool as Pool
    from .result import Result as Result
    from .statistics import Durations as Durations
    from .statistics import Statistics as Statistics

_HOME = {
    "put": "_put",
    "current_call": "_engine.current",
    "B": "graph.ez",
    "Broadcast": "graph.ez",
    "EZ": "graph.ez",
    "Graph": "graph.graph",
    "GraphError": "errors",
    "GraphFuture": "graph.future",
    "P": "graph.ez",
    "Parallel": "graph.ez",
    "S": "graph.ez",
    "Serial": "graph.ez",
    "Task": "graph.task",
    "Zip": "graph.ez",
    "each": "graph.task",
    "pack": "graph.task",
    "same": "graph.task",
    "star": "graph.task",
    "task": "graph.task",
    "Result": "result",
    "CurrentCall": "_engine.current",
    "CallInterrupted": "errors",
    "CallTimeout": "errors",
    "Durations": "statistics",
    "EzflowError": "errors",
    "Future": "future",
    "ItemStream": "_stream",
    "PicklingAttributeError": "errors",
    "PicklingError": "errors",
    "PicklingTypeError": "errors",
    "Pool": "pool",
    "PoolBroken": "errors",
    "ProcessPoolExecutor": "executor",
    "Ref": "_memory.reference",
    "RemoteError": "errors",
    "Statistics": "statistics",
    "UnpicklingError": "errors",
    "WorkerDied": "errors",
    "WrongProcess": "errors",
}

__all__ = [  # written out, because type checkers read it
    "EZ",
    "B",
    "Broadcast",
    "CallInterrupted",
    "CallTimeout",
    "CurrentCall",
    "Durations",
    "EzflowError",
    "Future",
    "Graph",
    "GraphError",
    "GraphFuture",
    "ItemStream",
    "P",
    "Parallel",
    "PicklingAttributeError",
    "PicklingError",
    "PicklingTypeError",
    "Pool",
    "PoolBroken",
    "ProcessPoolExecutor",
    "Ref",
    "RemoteError",
    "Result",
    "S",
    "Serial",
    "Statistics",
    "Task",
    "UnpicklingError",
    "WorkerDied",
    "WrongProcess",
    "Zip",
    "current_call",
    "each",
    "pack",
    "put",
    "same",
    "star",
    "task",
]


def __getattr__(name: str) -> object:
    """Import the module that defines a public name (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
