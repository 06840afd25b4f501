"""Random structures with buffers go there and back equal: whatever layout, nesting and size."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezflow import ProcessPoolExecutor, put
from tests.contract.gates import LIMIT

np = pytest.importorskip("numpy")
from tests.contract import shapes  # noqa: E402

DTYPES = ("u1", "i2", "f4", "f8", "c16", "M8[s]", "U3", "S5", "?", [("a", "i4"), ("b", "f8", (2,))])
SIZES = (0, 1, 7, 1_000, 8_191, 8_192, 20_000, 70_000)
LAYOUTS = ("C", "F", "strided", "reversed", "read-only", "mapped", "object", "view")


def make_array(dtype: Any, size: int, layout: str, seed: int) -> Any:
    """Make an array; its content follows from the seed."""
    kind = np.dtype(dtype)
    content = np.random.default_rng(seed).integers(0, 2, (size, max(kind.itemsize, 1)), dtype=np.uint8)
    base = np.frombuffer(content.tobytes(), dtype=kind, count=size).copy() if size else np.empty(0, kind)
    if layout == "F":
        return np.asfortranarray(base[: size // 2 * 2].reshape(-1, 2))
    if layout == "strided":
        return base[::3]
    if layout == "reversed":
        return base[::-1]
    if layout == "read-only":
        base.setflags(write=False)
        return base
    if layout == "mapped":
        if not size:
            return base
        with tempfile.NamedTemporaryFile() as file:
            base.tofile(file)
            file.flush()
            return np.asarray(np.memmap(file.name, dtype=kind, mode="r"))
    if layout == "object":
        return np.array([{"n": int(n)} for n in range(min(size, 100))], dtype=object)
    return base


def overlapping(size: int) -> list[Any]:
    """Views of one base that overlap."""
    base = make_array("f8", size, "C", 1)
    return [base, base[size // 3 :], base[: size // 2]]


@dataclass(frozen=True)
class Leaf:
    """How to make a value; its text is short, whatever the value's."""

    make: Callable[..., Any]
    args: tuple[Any, ...]


def built(plan: Any) -> Any:
    """Make what a plan describes."""
    if isinstance(plan, Leaf):
        return plan.make(*plan.args)
    if isinstance(plan, dict):
        return {key: built(value) for key, value in plan.items()}
    if isinstance(plan, list | tuple):
        return type(plan)(map(built, plan))
    return plan


def leaf(make: Callable[..., Any], *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Leaf]:
    return st.builds(lambda *given: Leaf(make, given), *args)


def framed(columns: dict[str, Any]) -> shapes.Frame:
    return shapes.Frame(**built(columns))


plans = st.recursive(
    st.one_of(
        leaf(
            make_array,
            st.sampled_from(DTYPES),
            st.sampled_from(SIZES),
            st.sampled_from(LAYOUTS),
            st.integers(0, 99),
        ),
        leaf(overlapping, st.sampled_from(SIZES)),
        leaf(bytes, st.sampled_from((0, 65_536, 300_000))),
        leaf(bytearray, st.sampled_from((0, 50_000, 200_000))),
        st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=40),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        leaf(framed, st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(plans)
def test_structures_go_there_and_back_equal(pool: ProcessPoolExecutor, plan: Any) -> None:
    value = built(plan)
    back = pool.submit(shapes.echo, value).result(LIMIT)

    assert shapes.same(pickle.loads(pickle.dumps(value, 5)), back)  # layouts as plain pickle keeps them


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(plans)
def test_handles_and_sealed_results_stand_for_equal_structures(pool: ProcessPoolExecutor, plan: Any) -> None:
    value = built(plan)
    handle = put(value)
    sealed = pool.submit.sealed()(shapes.echo, handle).result(LIMIT)

    value = pickle.loads(pickle.dumps(value, 5))
    assert shapes.same(value, handle.get())
    assert shapes.same(value, pool.submit(shapes.echo, sealed).result(LIMIT))
    assert shapes.same(value, sealed.get())
