"""What stands in the place of an item, or travels with it."""

from __future__ import annotations

from ..graph.inside import add_note

TYPE_CHECKING = False  # typing costs milliseconds to import
if TYPE_CHECKING:
    from typing import Any, Final


class Drop:
    """The word that drops an item."""

    __slots__ = ()
    __name__ = "DROP"

    def __getattr__(self, name: str) -> str:
        if name == "__qualname__":
            return "DROP"
        raise AttributeError(f"'DROP' has no attribute {name!r}")

    def __repr__(self) -> str:
        """Show the word."""
        return "DROP"

    def __reduce__(self) -> str:
        return "DROP"


DROP: Final = Drop()
"""Returned for an item, it drops it; in a row of `Zip` it stands for a branch without an output."""


class Failure:
    """A failed item, in the place of its outputs; it passes by all further stages.

    Parameters
    ----------
    error : BaseException
        What the stage raised, or what became of its worker.
    item : object
        What the stage was given.
    note : str
        Place and name of the stage.

    Attributes
    ----------
    origin : object
        The item of the source that it came of; of what came of several, such as a batch, their list.  In a side stream,
        what was emitted.
    """

    __slots__ = ("error", "item", "note", "origin")

    error: BaseException
    item: object
    note: str
    origin: object

    def __init__(self, error: BaseException, item: object, note: str) -> None:
        self.error = error
        self.item = item
        self.note = note
        self.origin = item

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel with the frames of the error."""
        from ..result import Result

        return _failure, (Result[object](err=self.error), self.item, self.note)

    def __repr__(self) -> str:
        """Show what failed."""
        return f"Failure({self.error!r}, {self.item!r:.60})"


def _failure(result: Any, item: object, note: str) -> Failure:
    return Failure(result.err, item, note)


class To:
    """An item that says where it goes: a branch of the next stage, by its name or key.

    Parameters
    ----------
    target : object
        Name of a branch of the tuple, or key of the `Route`, that is the next stage.
    item : object
        What goes there.  Without it, this is a stage, which sends every item there.

    Notes
    -----
    Any stage may return or yield it.  A target that is not there is an error: when the flow is built for the stage
    ``To("vip")``, else when the item comes.
    """

    __slots__ = ("item", "target")

    target: object
    item: object

    def __init__(self, target: object, item: object = DROP) -> None:
        self.target = target
        self.item = item

    def __call__(self, item: object) -> To:
        """Send an item there: what the stage ``To("vip")`` does."""
        return To(self.target, item)

    def __reduce__(self) -> tuple[Any, ...]:
        return To, (self.target, self.item)

    def __repr__(self) -> str:
        """Show it as it is written."""
        return f"To({self.target!r})" if self.item is DROP else f"To({self.target!r}, {self.item!r:.60})"


def pass_on(item: Any) -> Any:
    """Give the item: what `same` does."""
    return item


class Always:
    """A handler that puts the same value into the place of every failed item."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self, error: object) -> object:
        """Give the value."""
        return self.value


class Carried:
    """An item and its meta, in the place of the item."""

    __slots__ = ("meta", "value")

    def __init__(self, value: Any, meta: dict[Any, Any]) -> None:
        self.value = value
        self.meta = meta

    def __reduce__(self) -> tuple[Any, ...]:
        return Carried, (self.value, self.meta)


BATCH: Final = "batch"
"""Under this key the meta of a batch holds those of its items."""


def bare(item: Any) -> Any:
    """Give an item without its meta."""
    return item.value if type(item) is Carried else item


def noted(error: BaseException, note: str, item: object) -> BaseException:
    """Give the error with a note that names the stage and the item, unless an inner stage has left one."""
    if note and not any(str(one).startswith(_MARK) for one in getattr(error, "__notes__", ())):
        try:
            shown = f"{item!r:.200}"
        except Exception:
            shown = f"of type {type(item).__name__}"
        add_note(error, f"{_MARK}{note}, with the item {shown}")
    return error


_MARK: Final = "ezflow: in flow stage "
