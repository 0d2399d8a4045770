"""A dump that does not come to its end: cancelled in any phase, or its target gone. Nothing of it is left, and the next one is right."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.dump.request import DumpRequest, DumpResult
from lamina.core.dump.session import dump
from lamina.core.dump.tracking import standing_of
from lamina.core.errors import Cancelled, LaminaError
from lamina.core.events import CancelToken, Event, Progress
from lamina.core.image.layer import Layer
from tests.live.harness import Layers, Reaper, Victim, alive, restore, start_c, wait_gone
from tests.live.trace import observe

MIB = 48  # enough for live rounds


def at_phase(name: str, act: Callable[[], None]) -> Callable[[Event], None]:
    """A listener that acts when a phase of that name begins."""

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.phase.startswith(name):
            act()

    return listen


def whole(victim: Victim, layer: Path, parent: str | None = None) -> DumpResult:
    result = dump(DumpRequest(victim.pid, layer, parent, leave_running=True, track_mem=True))
    victim.keep_files(layer)
    return result


@pytest.mark.parametrize("phase", ["arm", "live round 1", "freeze", "write", "commit"])
def test_a_first_dump_that_is_cancelled_leaves_nothing(phase: str, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    victim.ask("write 5000 1")
    before = observe(victim.pid)
    layer, cancel = layers.new(), CancelToken()
    request = DumpRequest(victim.pid, layer, leave_running=True, track_mem=True)
    try:
        dump(request, at_phase(phase, cancel.cancel), cancel)
    except Cancelled:
        assert os.listdir(layer) == []
        assert observe(victim.pid) == before
        assert standing_of(victim.pid) is None
    else:
        assert phase == "commit", "the cancelled dump went on"
    assert victim.ask()["wrong"] == 0


@pytest.mark.parametrize("phase", ["live round 1", "freeze", "write"])
def test_an_increment_that_is_cancelled_gives_back_what_it_was_told(phase: str, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    first, second, third = layers.new(), layers.new(), layers.new()
    whole(victim, first)
    victim.ask("write 3000 1")
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        dump(
            DumpRequest(victim.pid, second, "../1", leave_running=True, track_mem=True), at_phase(phase, cancel.cancel), cancel
        )  # fmt: skip
    assert os.listdir(second) == []
    victim.ask("write 10 2")
    state = victim.ask()
    result = whole(victim, third, "../1")
    assert not result.notices, "the dirty bits still count from layer 1"
    # Twice the pages a program changes beside those it was asked to: the cancelled dump has run, too.
    assert 3000 <= result.stats.pages_written <= 3000 + 10 + 2 * 32
    assert result.stats.pages_skipped_parent > MIB * 256 - 3100
    restore(victim, third)
    assert victim.ask() == state


@pytest.mark.parametrize("phase", ["arm", "live round 1", "freeze"])
def test_a_target_that_ends_meanwhile_is_one_clear_error(phase: str, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    layer = layers.new()
    with pytest.raises(LaminaError) as caught:
        dump(
            DumpRequest(victim.pid, layer, leave_running=True, track_mem=True),
            at_phase(phase, lambda: os.kill(victim.pid, signal.SIGKILL)),
        )
    assert str(victim.pid) in str(caught.value)
    assert os.listdir(layer) == []
    wait_gone(victim.pid)


def test_auto_dedup_takes_from_the_ancestors_only_after_the_commit(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", MIB)
    first, second = layers.new(), layers.new()
    whole(victim, first)
    victim.ask("write 2000 1")
    state = victim.ask()
    blocks = (first / "pages-1.img").stat().st_blocks
    result = dump(DumpRequest(victim.pid, second, "../1", leave_running=True, track_mem=True, auto_dedup=True))
    victim.keep_files(second)
    assert result.stats.pages_written >= 2000
    assert blocks - (first / "pages-1.img").stat().st_blocks >= 2000 * 8
    sidecar = Layer(first).sidecar
    assert sidecar and not sidecar.restorable
    with pytest.raises(AssertionError, match="punched by 2"):
        restore(victim, first)
    assert not alive(victim.pid)
    restore(victim, second)
    assert victim.ask() == state


@pytest.mark.parametrize("phase", ["freeze", "commit"])
def test_a_directory_renamed_meanwhile_is_the_layer_all_the_same(phase: str, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 2)
    first, second, third = layers.new(), layers.new(), layers.new()
    whole(victim, first)
    renamed = second.with_name("renamed")
    request = DumpRequest(victim.pid, second, "../1", leave_running=True, track_mem=True)
    result = dump(request, at_phase(phase, lambda: None if renamed.exists() else os.rename(second, renamed)))
    assert result.images_dir == renamed
    assert any(str(renamed) in notice for notice in result.notices)
    state = standing_of(victim.pid)
    assert state and state.settled and state.layer_dir == str(renamed)
    victim.ask("write 10 1")
    stats = whole(victim, third, "../renamed").stats
    assert stats.pages_skipped_parent > stats.pages_written
    victim.ask("write 90 1")
    restore(victim, third)
    assert victim.ask()["wrong"] == 0
