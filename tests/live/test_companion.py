"""What belongs to a target and is not in it is committed with the layer; that it fails keeps no layer from being made."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from lamina.core.attach.procfs import read_stat
from lamina.core.image.sidecar import TERMINAL_NAME
from tests.live.harness import Layers, Reaper, lamina, start_c


class Keeper:
    """Notes how the target stood, and gives one file, or fails on the way."""

    def __init__(self, pid: int, fails: str = "") -> None:
        self.pid, self.fails, self.state = pid, fails, ""

    def frozen(self) -> None:
        self.state = read_stat(self.pid).state
        if self.fails == "frozen":
            raise RuntimeError("no such luck")

    def files(self) -> Mapping[str, bytes]:
        assert self.fails != "frozen", "it has failed already"
        if self.fails == "files":
            raise RuntimeError("no such luck")
        return {TERMINAL_NAME: b"a screen" if self.state else b""}


@pytest.mark.parametrize("last", [False, True])
def test_its_file_is_part_of_the_layer(reaper: Reaper, layers: Layers, tmp_path: Path, last: bool) -> None:
    from lamina.core.dump.request import DumpRequest
    from lamina.core.dump.session import dump

    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    keeper, layer = Keeper(victim.pid), layers.new()
    result = dump(DumpRequest(victim.pid, layer, leave_running=not last, track_mem=not last, companion=keeper))
    assert keeper.state == "t" and not result.notices  # stopped by its tracer
    kept = layer / TERMINAL_NAME
    assert kept.read_bytes() == b"a screen" and kept.stat().st_mode & 0o777 == 0o600
    assert TERMINAL_NAME in json.loads((layer / "lamina.json").read_text())["checksums"]
    assert lamina("verify", layer).err == ""
    # It is nothing that a program is restored from: damage is told, and no reason to refuse.
    kept.write_bytes(b"another screen")
    assert "suspicious: 1/lamina-terminal.json" in lamina("verify", layer).out


@pytest.mark.parametrize("fails", ["frozen", "files"])
def test_one_that_fails_is_a_notice(reaper: Reaper, layers: Layers, tmp_path: Path, fails: str) -> None:
    from lamina.core.dump.request import DumpRequest
    from lamina.core.dump.session import dump

    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    layer = layers.new()
    result = dump(DumpRequest(victim.pid, layer, leave_running=True, companion=Keeper(victim.pid, fails)))
    assert [notice for notice in result.notices if "not kept" in notice] == ["not kept with the layer: no such luck"]
    assert not (layer / TERMINAL_NAME).exists()
    assert lamina("verify", layer).status == 0
    assert victim.ask()["wrong"] == 0
