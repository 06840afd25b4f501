"""Classes of the main program that refer to themselves, to each other, or to what pickle does not know."""

from __future__ import annotations

import pytest

from tests.unit.codec_harness import run_main

METHODS = ["spawn", "fork"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_global", [False, True])
def test_a_class_that_keeps_its_one_instance(method: str, is_global: bool) -> None:
    run_main(
        """
        class Single:
            instance = None
            def __new__(cls):
                if cls.instance is None:
                    cls.instance = super().__new__(cls)
                    cls.instance.n = 5
                return cls.instance
        def task(one):
            return one is Single.instance, one is Single(), one.n
        def named():
            return ONE is Single(), ONE.n
        one = Single()
        assert worker(task, one) == (True, True, 5)
        assert worker(task, one) == (True, True, 5)
        """
        + ("ONE = one\n        assert worker(named) == (True, 5)\n" if is_global else ""),
        method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_keeps_its_instances(method: str) -> None:
    run_main(
        """
        class Item:
            known = []
            def __new__(cls, n):
                self = super().__new__(cls)
                cls.known.append(self)
                return self
            def __init__(self, n):
                self.n = n
            def __getnewargs__(self):
                return (self.n,)
        def task():
            return [(each.n, isinstance(each, Item)) for each in Item.known]
        Item(3), Item(4)
        assert worker(task) == [(3, True), (4, True)]
        """,
        method,
    )


CIRCLE = """
class Meta(type):
    pass
class Base(metaclass=Meta):
    known = {}
    def __init_subclass__(cls):
        Base.known[cls.__name__] = cls
class Sub(Base):
    version = 1
def task():
    assert type(Sub) is Meta and type(Base) is Meta
    assert issubclass(Sub, Base) and Sub.__mro__[1] is Base
    return list(Base.known), Base.known["Sub"] is Sub, Sub.version
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_base_class_that_knows_its_subclasses_has_a_metaclass(method: str) -> None:
    run_main("assert worker(task) == (['Sub'], True, 1)", method, head=CIRCLE)


@pytest.mark.parametrize("method", METHODS)
def test_classes_in_a_circle_that_are_defined_anew(method: str) -> None:
    anew = CIRCLE.replace("version = 1", "version = 2").replace("def task", "def unused")
    run_main(
        f"""
        assert worker(task) == (['Sub'], True, 1)
        exec({anew!r})
        assert worker(task) == (['Sub'], True, 2)
        """,
        method,
        head=CIRCLE,
    )
