"""How long work is told: seldom enough to cost nothing, and the end always."""

import threading

import pytest

from lamina.core.errors import Cancelled
from lamina.core.events import CancelToken, Event, Meter, Progress


def test_a_meter_tells_the_beginning_and_the_end_and_little_between() -> None:
    told: list[Event] = []
    meter = Meter("fill", told.append, total=1000 * 4096)
    for _ in range(1000):
        meter.step(4096)
    assert isinstance(told[0], Progress) and told[0].done == 1
    assert isinstance(told[-1], Progress) and (told[-1].done, told[-1].total, told[-1].done_bytes) == (1000, 1000, 1000 * 4096)
    assert len(told) < 500


def test_a_meter_never_tells_more_pages_than_there_are() -> None:
    told: list[Event] = []
    Meter("check", told.append, total=4096).step(1 << 20)
    assert told == [Progress("check", 1, 1, 1 << 20, told[0].elapsed_us)]  # type: ignore[union-attr]


def test_a_meter_counts_from_several_threads_and_stops_when_cancelled() -> None:
    cancel = CancelToken()
    meter = Meter("verify", cancel=cancel, what="verify of S/2")

    def run() -> None:
        for _ in range(10_000):
            meter.step(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.done == 40_000
    cancel.cancel()
    with pytest.raises(Cancelled, match="verify of S/2"):
        meter.step(1)
