"""`lamina every`: what it is asked for, and what means nothing."""

import io
from pathlib import Path

import pytest

from lamina.core.cli.dumping import every
from lamina.core.cli.entry import parse
from lamina.core.cli.output import Output
from lamina.core.errors import UsageError
from lamina.core.events import CancelToken


def test_a_time_a_size_or_both() -> None:
    both = parse(["every", "5m", "-t", "7", "-D", "S", "--dirtied", "64M", "--count", "3", "--keep-last", "2"])
    assert (both.interval, both.dirtied, both.count, both.keep_last, both.images_dir) == (300, 64 << 20, 3, 2, Path("S"))
    assert parse(["every", "-t", "7", "-D", "S", "--dirtied", "1G"]).interval is None


@pytest.mark.parametrize(
    ("words", "why"),
    [([], "give a time such as 30s, or --dirtied"), (["9s", "--count", "0"], "--count 0"), (["9s", "--keep-last", "0"], "--keep-last 0")],
)
def test_what_means_nothing_is_refused_before_anything_is_looked_at(words: list[str], why: str) -> None:
    args = parse(["every", "-t", "999999999", "-D", "S", *words])
    with pytest.raises(UsageError) as found:
        every(args, Output(False, Path("log"), io.StringIO(), io.StringIO()), CancelToken())
    assert why in str(found.value)
