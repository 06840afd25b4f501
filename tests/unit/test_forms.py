"""Calls that are put together from bytes are the calls that would have been pickled."""

from __future__ import annotations

import os.path
import pickle
import sys
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezflow._wire.codec import Codec
from ezflow._wire.forms import LONGEST, Form, body_of, body_of_scalar
from ezflow._wire.workspace import Workspace
from tests import graphwork as work

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.sets(scalars)
    ),
    max_leaves=8,
)


@given(st.lists(values, max_size=5), st.lists(values, max_size=3))
def test_call_from_bytes_is_the_call_that_is_pickled(args: list[Any], others: list[Any]) -> None:
    bodies = [body_of(pickle.dumps(value, 5)) for value in args]
    named = [body_of(pickle.dumps(value, 5)) for value in others]
    if None in bodies or None in named:
        return
    names = ["a", "b", "c"][: len(others)]
    codec, space = Codec(), Workspace(forked=False)
    want, _ = codec.pack_call(work.a, (b"first", *args), dict(zip(names, others, strict=True)))

    form = Form(work.a, (b"first",), len(args), names)
    got = form.fill(bodies, named)  # type: ignore[arg-type]  # none is None

    assert space.unpack_call(got) == space.unpack_call(want)


@pytest.mark.parametrize(
    "value", [0, 255, 256, 1 << 16, -1, 1 << 80, 0.5, None, True, False, "", "text", "é" * 90]
)
def test_scalars_stand_in_any_pickle(value: object) -> None:
    body = body_of_scalar(value)

    assert body is not None
    assert pickle.loads(b"\x80\x05(" + 3 * body + b"t.") == (value, value, value)


class Thing:
    """No plain data."""


shared = [1]


@pytest.mark.parametrize("value", [Thing(), len, (shared, shared), "x" * LONGEST, 1j, range(3)])
def test_what_is_no_plain_data_or_refers_to_itself_is_looked_at(value: object) -> None:
    assert body_of(pickle.dumps(value, 5)) is None


def test_what_no_pickle_of_ours_is_is_looked_at() -> None:
    for data in (b"", b"\x80\x05.", pickle.dumps(1, 2), pickle.dumps([1, 2, 3], 0)):
        assert body_of(data) is None


def test_form_knows_whether_its_function_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    form = Form(os.path.join, (), 1, ())
    assert form.is_current()

    cloudpickle.register_pickle_by_value(work)
    try:
        assert not form.is_current()
    finally:
        cloudpickle.unregister_pickle_by_value(work)
    assert form.is_current()
    monkeypatch.setattr(sys.modules[os.path.join.__module__], "join", len)
    assert not form.is_current()
