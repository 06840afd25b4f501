"""Classes of durations, and counting them."""

from __future__ import annotations

import random

import pytest

from ezflow._call import Call
from ezflow._engine.events import Place, StopReason
from ezflow._engine.tally import MAX_LABELS, N_CLASSES, OTHERS, Tally, Timing, bounds, class_of
from ezflow._sealed import SealedAnswer
from ezflow._wire.messages import ERROR, MAX_MICROS, VALUE


@pytest.mark.parametrize("micros", [0, 1, 2, 7, 8, 15, 16, 17, 100, 1023, 1024, 123_456, MAX_MICROS])
def test_every_duration_lies_within_its_class(micros: int) -> None:
    number = class_of(micros)

    assert 0 <= number < N_CLASSES
    if micros:
        low, high = bounds(number)
        assert low <= micros < high
        assert high / low <= 1.125 or high - low <= 1


def test_classes_rise_with_the_durations() -> None:
    numbers = [class_of(micros) for micros in range(5000)]

    assert numbers == sorted(numbers)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_are_right_to_some_percent(share: float) -> None:
    chance = random.Random(1)
    durations = sorted(int(chance.lognormvariate(8, 2)) + 20 for _ in range(20_000))
    timing = Timing()
    for micros in durations:
        timing.classes[class_of(micros)] += 1

    [found] = timing.quantiles(share)

    assert found == pytest.approx(durations[min(len(durations) - 1, int(share * len(durations)))], rel=0.13)


def answer(label: str, micros: int = 5, kind: int = VALUE) -> tuple[Call, SealedAnswer]:
    call = Call(1, b"", (), label, None)  # type: ignore[arg-type]
    call.place = Place.SETTLED
    return call, SealedAnswer(kind, b"", label, 1, micros)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17, 63, 64])
def test_many_that_come_together_are_all_counted(n: int) -> None:
    tally = Tally()

    tally.answered([answer("f", 10)] * n, all_well=True)

    assert tally.n_done == n
    assert sum(tally.timings["f"].classes) == n
    assert tally.timings["f"].micros == 10 * n


def test_ends_are_told_apart() -> None:
    tally = Tally()
    cancelled, repeated, timed_out = answer("f", kind=ERROR), answer("f", kind=ERROR), answer("f")
    cancelled[0].stop = StopReason.CANCEL
    repeated[0].place = Place.WAITING
    timed_out[0].interrupted = True

    tally.answered([answer("f"), answer("f", kind=ERROR), cancelled, repeated, timed_out], all_well=False)

    assert (tally.n_done, tally.n_failed, tally.n_cancelled) == (1, 2, 1)


def test_labels_are_bounded() -> None:
    tally = Tally()

    for number in range(MAX_LABELS + 50):
        tally.answered([answer(str(number))], all_well=True)

    assert len(tally.timings) == MAX_LABELS + 1
    assert sum(tally.timings[OTHERS].classes) == 50
