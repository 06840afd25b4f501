"""Pack a value once for any number of calls."""

from __future__ import annotations

from typing import TypeVar

from ._memory.reference import Ref

T = TypeVar("T")


def put(value: T) -> Ref[T]:
    """Pack a value once, to be given to any number of calls of any pool of this process.

    Parameters
    ----------
    value : object
        Anything that can be sent to a worker.  What it is now is what every call gets: changing it later is safe.

    Returns
    -------
    Ref
        To be passed in its place, at any depth of the arguments.

    Raises
    ------
    PicklingError
        If the value cannot be pickled.

    See Also
    --------
    Ref.get : Rebuild the value here.

    Notes
    -----
    Large arrays are copied once into shared memory; each call that takes the handle maps it, so a hundred calls need no
    more memory than one.  An array that is passed to many calls itself is recognised while they hold it, at the
    price of comparing it each time; a handle costs nothing.

    Examples
    --------
    >>> import ezflow
    >>> table = ezflow.put({"answer": 42})
    >>> with ezflow.ProcessPoolExecutor(1) as pool:
    ...     pool.submit(dict.get, table, "answer").result()
    42
    """
    from ._wire.keeping import keep

    try:
        parts, names = keep(value, _is_known, "value")
    except Exception as error:
        from ._wire.diagnose import for_caller

        explained = for_caller(error, "argument", "put")
        raise explained from explained.__cause__
    return Ref(parts, names)


def _is_known(module: str, name: str) -> bool:
    return True
