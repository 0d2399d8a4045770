"""When timed layers are due, told by a clock of our own."""

import pytest

from lamina.core.dump.rhythm import BUSY_S, FAILURES, PAUSE_S, Rhythm, Timed, describe

MIB = 1 << 20


def begun(rhythm: Rhythm) -> Timed:
    """A run whose first layer was taken at 100, in half a second."""
    timed = Timed(rhythm, 100.0)
    due = timed.due(100.0, None)
    assert due is not None and not due.skip
    timed.taken(due, 100.5)
    return timed


def test_by_the_clock_the_beats_are_from_start_to_start() -> None:
    timed = begun(Rhythm(every_s=30))
    assert timed.left(101.0) == 29.0
    assert timed.due(129.9, 5) is None
    due = timed.due(130.2, 5)
    assert due is not None and due.why == "30 s went by"
    timed.taken(due, 131.0)
    assert timed.left(131.0) == 29.0


def test_beats_that_a_long_dump_missed_are_left_out() -> None:
    timed = begun(Rhythm(every_s=2))
    due = timed.due(102.0, 5)
    assert due is not None
    timed.taken(due, 107.5)
    assert timed.due(107.6, 5) is None
    assert timed.left(107.5) == 0.5


def test_by_size_only_what_was_written_counts() -> None:
    timed = begun(Rhythm(dirtied=64 * MIB))
    assert timed.left(101.0) is None
    assert timed.due(9999.0, 64 * MIB - 1) is None
    assert timed.due(101.0, None) is None
    due = timed.due(101.0, 65 * MIB)
    assert due is not None and due.why == "65 MiB dirtied"


def test_with_both_the_first_to_come_counts_and_begins_the_other_anew() -> None:
    timed = begun(Rhythm(every_s=30, dirtied=MIB))
    due = timed.due(110.0, MIB)
    assert due is not None
    timed.taken(due, 110.1)
    assert timed.due(139.0, 0) is None
    due = timed.due(140.0, 4096)
    assert due is not None and due.why == "30 s went by"


def test_nothing_written_is_no_layer_and_told_once() -> None:
    timed = begun(Rhythm(every_s=10))
    told = []
    for beat in (110.0, 120.0, 130.0):
        due = timed.due(beat, 0)
        assert due is not None and due.skip
        told.append(timed.skip(due, beat))
    assert told == [True, False, False] and timed.skipped == 3
    due = timed.due(140.0, 4096)
    assert due is not None and not due.skip


def test_a_busy_target_is_asked_again_later() -> None:
    timed = begun(Rhythm(dirtied=MIB))
    due = timed.due(101.0, MIB)
    assert due is not None and timed.skip(due, 101.0, busy=True)
    assert timed.due(101.0 + BUSY_S / 2, MIB) is None
    due = timed.due(101.0 + BUSY_S, MIB)
    assert due is not None and not timed.skip(due, 102.0, busy=True)


def test_failures_end_it_but_not_one_alone() -> None:
    timed, now = begun(Rhythm(dirtied=MIB)), 200.0
    for number in range(1, FAILURES + 1):
        due = timed.due(now, MIB)
        assert due is not None
        assert timed.failed(due, now) == (number == FAILURES)
        assert timed.due(now + PAUSE_S / 2, MIB) is None
        now += PAUSE_S


def test_the_first_failure_ends_it_if_no_layer_was_taken() -> None:
    timed = Timed(Rhythm(every_s=30), 0.0)
    due = timed.due(0.0, None)
    assert due is not None and timed.failed(due, 0.1)


@pytest.mark.parametrize(
    ("rhythm", "text"),
    [
        (Rhythm(every_s=30), "every 30 s"),
        (Rhythm(every_s=300), "every 5 min"),
        (Rhythm(every_s=90), "every 90 s"),
        (Rhythm(dirtied=64 * MIB), "every 64 MiB dirtied"),
        (Rhythm(every_s=3600, dirtied=512 << 10), "every 1 h or 512 KiB dirtied"),
        (Rhythm(dirtied=2 << 30), "every 2 GiB dirtied"),
        (Rhythm(dirtied=8561000), "every 8.16 MiB dirtied"),
    ],
)
def test_it_is_said_in_words(rhythm: Rhythm, text: str) -> None:
    assert describe(rhythm) == text
