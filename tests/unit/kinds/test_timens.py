"""What is said of the clocks of a program that criu dumped: how far they have gone on, or that they step back."""

import time
from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.schema import timens_entry, timespec
from lamina.core.kinds.task.timens import Clocks
from tests.corpus import unpack


def with_clock(tmp_path: Path, monotonic: float, records: int = 1) -> Layer:
    layer = unpack("criu-3.17.1/three", tmp_path) / "1"
    clock = timespec(tv_sec=int(monotonic), tv_nsec=0)
    (layer / "timens-0.img").write_bytes(fmt.encode_image("timens", [timens_entry(monotonic=clock, boottime=clock)] * records))
    return Layer(layer)


def test_clocks_that_went_on(tmp_path: Path) -> None:
    then = time.clock_gettime(time.CLOCK_MONOTONIC) - 100
    (said,) = Clocks().notices(with_clock(tmp_path, then))
    assert said.startswith("timens-0.img") and "has gone on by 10" in said


def test_clocks_that_step_back(tmp_path: Path) -> None:
    (said,) = Clocks().notices(with_clock(tmp_path, time.clock_gettime(time.CLOCK_MONOTONIC) + 5000))
    assert "booted since" in said
    assert "back by 4,9" in said or "back by 5,000" in said


def test_our_own_layers_say_it_only_after_a_boot(tmp_path: Path) -> None:
    layer = unpack("lamina-0.1/three", tmp_path) / "1"
    assert not (layer / "timens-0.img").exists()
    then = Layer(layer).inventory.dump_uptime / 1e6
    said = [*Clocks().notices(Layer(layer))]
    assert bool(said) == (then > time.clock_gettime(time.CLOCK_MONOTONIC))


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"timens-0\.img"):
        list(Clocks().notices(with_clock(tmp_path, 1, records=2)))
