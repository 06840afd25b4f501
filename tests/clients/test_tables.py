"""Frames and tables of other libraries go there and back in shared memory."""

from __future__ import annotations

from typing import Any

import pytest

from ezflow import put
from tests.contract import shapes

pytestmark = pytest.mark.filterwarnings("default")


def n_descriptors(pool: Any) -> int:
    """Count the segments that workers were given."""
    lendings = [link.holdings._lending for link in list(pool._engine._links.values())]
    return sum(each.n_fds for each in lendings if each is not None)


def test_pandas_frame(pool: Any) -> None:
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    frame = pandas.DataFrame(
        {
            "number": numpy.arange(100_000.0),
            "time": pandas.date_range("2026-01-01", periods=100_000, freq="s"),
            "kind": pandas.Categorical(["a", "b"] * 50_000),
            "text": [str(i) for i in range(100_000)],
        }
    )

    back = pool.submit(shapes.echo, frame).result()
    sealed = pool.submit.sealed()(shapes.echo, put(frame)).result()

    pandas.testing.assert_frame_equal(frame, back)
    pandas.testing.assert_frame_equal(frame, sealed.get())
    assert n_descriptors(pool) > 0
    back.loc[0, "number"] = 5.0
    assert frame.loc[0, "number"] == 0.0


def test_arrow_table(pool: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"n": list(range(100_000)), "text": [str(i) for i in range(100_000)]})

    back = pool.submit(shapes.echo, table).result()
    sliced = pool.submit(shapes.echo, table.slice(10, 90_000)).result()

    assert back.equals(table)
    assert sliced.equals(table.slice(10, 90_000))
    assert n_descriptors(pool) > 0
