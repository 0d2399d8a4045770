"""Numbers as people read them."""

import pytest

from lamina.tui.model import units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3_355_443, "3.2 MiB"),
        (213 << 20, "213 MiB"),
        (1023.9 * 2**20, "1.0 GiB"),
    ],
)
def test_sizes_carry_binary_units(count: float, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (412, "412 µs"),
        (3_810, "3.8 ms"),
        (190_000, "0.19 s"),
        (41e6, "41 s"),
        (300e6, "5 min"),
        (7500e6, "2 h 5 min"),
        (4 * 86400e6, "4 d"),
    ],
)
def test_durations_carry_the_unit_that_fits(microseconds: float, text: str) -> None:
    assert units.duration(microseconds) == text


@pytest.mark.parametrize(("number", "text"), [(812, "812"), (999.9, "1.0 k"), (1900, "1.9 k"), (12_000, "12 k"), (3_400_000, "3.4 M")])
def test_counts_are_short(number: float, text: str) -> None:
    assert units.count(number) == text


def test_a_rate_needs_time() -> None:
    assert units.rate(1 << 20, 0) == ""
    assert units.rate(1 << 20, 500_000) == "2.0 MiB/s"


def test_a_share_of_nothing_is_nothing() -> None:
    assert units.share(3, 0) == ""
    assert units.share(15, 100) == "15 %"
