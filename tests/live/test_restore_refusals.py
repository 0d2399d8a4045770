"""What a restore refuses: in one line, with the reason, before any process exists."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.core.restore.machine import pid_blockers
from tests.live.harness import Layers, Reaper, Victim, alive, dump, lamina, restore, start, start_c


@pytest.fixture
def victim(reaper: Reaper, tmp_path: Path) -> Victim:
    return start_c(reaper, tmp_path / "victim", "cells", 4)


@pytest.fixture
def layer(victim: Victim, layers: Layers) -> Path:
    layer = layers.new()
    dump(victim, layer, last=True)
    return layer


def refused(layer: Path, victim: Victim, *words: str, options: tuple[object, ...] = ()) -> None:
    ran = lamina("restore", "-D", layer, "-d", *options, ok=False)
    assert ran.status == 1 and len(ran.err.splitlines()) == 1, ran.said
    for word in words:
        assert word in ran.err, ran.said
    assert not alive(victim.pid)


def edit(layer: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = layer / "lamina.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_another_users_images_need_trust(victim: Victim, layer: Path) -> None:
    os.chown(layer / "inventory.img", 1234, -1)
    refused(layer, victim, "user 1234", "--trust", "inventory.img")
    os.chown(layer / "inventory.img", 0, -1)
    os.chown(layer, 1234, -1)
    refused(layer, victim, "user 1234", "--trust")
    restore(victim, layer, "--trust")
    assert victim.ask()["wrong"] == 0


def test_another_machines_layer(victim: Victim, layer: Path) -> None:
    edit(layer, lambda record: record.update(cpu_features=[*record["cpu_features"], "avx9000", "kernel_business"]))
    refused(layer, victim, "avx9000", "processor")
    edit(layer, lambda record: record["cpu_features"].remove("avx9000"))
    edit(layer, lambda record: record.update(page_size=65536))
    refused(layer, victim, "65536")


def test_a_number_that_a_group_or_a_zombie_bears(reaper: Reaper) -> None:
    """The leader of the group is gone and reaped, but its number stays taken."""
    shell = subprocess.Popen(["sh", "-c", "sleep 1000 >&- & echo $!"], process_group=0, stdout=subprocess.PIPE, text=True)
    member = int(shell.communicate()[0])
    reaper.watch(member)
    assert not Path(f"/proc/{shell.pid}").exists()
    assert "sleep" in pid_blockers([shell.pid])[0].why
    assert not pid_blockers([shell.pid], ending=[member])
    reaper.end(member)
    assert not pid_blockers([shell.pid])

    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    why = pid_blockers([child.pid])[0].why
    assert "zombie" in why and str(os.getpid()) in why
    child.wait()
    assert not pid_blockers([child.pid])


def test_a_thread_holds_the_pid() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert thread.native_id
        found = pid_blockers([thread.native_id])
        assert "a thread of" in found[0].why and str(os.getpid()) in found[0].why
    finally:
        stop.set()
        thread.join()


def test_the_executable_is_gone_or_another(victim: Victim, layers: Layers, reaper: Reaper, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path(os.readlink(f"/proc/{victim.pid}/exe")).read_bytes())
    program.chmod(0o755)
    other = start(reaper, tmp_path / "other", [program, tmp_path / "other", "1"])
    layer = layers.new()
    dump(other, layer, last=True)

    program.chmod(0o644)
    refused(layer, other, str(program), "executed")
    program.chmod(0o755)
    program.rename(tmp_path / "moved")
    refused(layer, other, str(program))
    (tmp_path / "moved").rename(program)
    with program.open("ab") as file:
        file.write(b"one byte more")
    refused(layer, other, str(program), "bytes")


def test_replace_does_not_end_another_program(victim: Victim, layer: Path, layers: Layers, reaper: Reaper) -> None:
    """The pid is the same, the program is not: here the layer says another command line and start time."""
    restore(victim, layer)
    state_dir = Path(os.environ.get("LAMINA_STATE_DIR", "/run/lamina"))
    for file in state_dir.glob(f"*-{victim.pid}-*.json"):
        file.unlink()
    edit(layer, lambda record: record.update(cmdline=["something", "else"]))
    ran = lamina("restore", "-D", layer, "-d", "--replace", ok=False)
    assert ran.status == 1 and "another program" in ran.err, ran.said
    assert alive(victim.pid) and victim.ask()["wrong"] == 0
