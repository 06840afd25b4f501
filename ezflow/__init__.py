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
    from .errors import JournalError as JournalError
    from .errors import PicklingAttributeError as PicklingAttributeError
    from .errors import PicklingError as PicklingError
    from .errors import PicklingTypeError as PicklingTypeError
    from .errors import PoolBroken as PoolBroken
    from .errors import RemoteError as RemoteError
    from .errors import UnpicklingError as UnpicklingError
    from .errors import WorkerDied as WorkerDied
    from .errors import WrongProcess as WrongProcess
    from .executor import ProcessPoolExecutor as ProcessPoolExecutor
    from .flow.counting import FlowStatistics as FlowStatistics
    from .flow.counting import StageStatistics as StageStatistics
    from .flow.flow import Flow as Flow
    from .flow.flow import FlowStream as FlowStream
    from .flow.flow import Outcome as Outcome
    from .flow.items import DROP as DROP
    from .flow.items import Failure as Failure
    from .flow.items import To as To
    from .flow.kit import As as As
    from .flow.kit import Batch as Batch
    from .flow.kit import By as By
    from .flow.kit import Const as Const
    from .flow.kit import Filter as Filter
    from .flow.kit import Iter as Iter
    from .flow.kit import Map as Map
    from .flow.kit import Print as Print
    from .flow.kit import Read as Read
    from .flow.kit import Rebatch as Rebatch
    from .flow.kit import Route as Route
    from .flow.kit import Seq as Seq
    from .flow.kit import Stamp as Stamp
    from .flow.kit import Tap as Tap
    from .flow.kit import Unbatch as Unbatch
    from .flow.kit import Window as Window
    from .flow.kit import Write as Write
    from .flow.piece import Piece as Piece
    from .flow.stage import Stage as Stage
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
    "Flow": "flow.flow",
    "FlowStream": "flow.flow",
    "Outcome": "flow.flow",
    "As": "flow.kit",
    "Batch": "flow.kit",
    "By": "flow.kit",
    "Const": "flow.kit",
    "Filter": "flow.kit",
    "Iter": "flow.kit",
    "Map": "flow.kit",
    "Print": "flow.kit",
    "Read": "flow.kit",
    "Rebatch": "flow.kit",
    "Route": "flow.kit",
    "Seq": "flow.kit",
    "Stamp": "flow.kit",
    "Tap": "flow.kit",
    "Unbatch": "flow.kit",
    "Window": "flow.kit",
    "Write": "flow.kit",
    "Piece": "flow.piece",
    "DROP": "flow.items",
    "Failure": "flow.items",
    "To": "flow.items",
    "Stage": "flow.stage",
    "put": "_put",
    "current_call": "_engine.current",
    "B": "flow.twins",
    "Broadcast": "flow.twins",
    "EZ": "graph.ez",
    "Graph": "graph.graph",
    "GraphError": "errors",
    "FlowStatistics": "flow.counting",
    "JournalError": "errors",
    "StageStatistics": "flow.counting",
    "GraphFuture": "graph.future",
    "P": "flow.twins",
    "Parallel": "flow.twins",
    "S": "flow.twins",
    "Serial": "flow.twins",
    "Task": "graph.task",
    "Zip": "flow.twins",
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
    "DROP",
    "EZ",
    "As",
    "B",
    "Batch",
    "Broadcast",
    "By",
    "CallInterrupted",
    "CallTimeout",
    "Const",
    "CurrentCall",
    "Durations",
    "EzflowError",
    "Failure",
    "Filter",
    "Flow",
    "FlowStatistics",
    "FlowStream",
    "Future",
    "Graph",
    "GraphError",
    "GraphFuture",
    "ItemStream",
    "Iter",
    "JournalError",
    "Map",
    "Outcome",
    "P",
    "Parallel",
    "PicklingAttributeError",
    "PicklingError",
    "PicklingTypeError",
    "Piece",
    "Pool",
    "PoolBroken",
    "Print",
    "ProcessPoolExecutor",
    "Read",
    "Rebatch",
    "Ref",
    "RemoteError",
    "Result",
    "Route",
    "S",
    "Seq",
    "Serial",
    "Stage",
    "StageStatistics",
    "Stamp",
    "Statistics",
    "Tap",
    "Task",
    "To",
    "Unbatch",
    "UnpicklingError",
    "Window",
    "WorkerDied",
    "Write",
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
