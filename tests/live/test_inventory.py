"""The victims of the inventory (docs/inventory.md): unusual values of all that is kept: set, dumped, restored, asked inside."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lamina.core.image.socket_options import OPTIONS
from tests.live.harness import Layers, Reaper, Victim, dump, restore, start_c, start_python, tree_of

LOGIN = 4242
# Level and number of options that CRIU's records have a field for.
IN_RECORDS = {
    "SO_PRIORITY": (1, 12),
    "SO_RCVLOWAT": (1, 18),
    "SO_MARK": (1, 36),
    "SO_PASSCRED": (1, 16),
    "SO_PASSSEC": (1, 34),
    "SO_NO_CHECK": (1, 11),
    "SO_DONTROUTE": (1, 5),
    "SO_BROADCAST": (1, 6),
    "SO_KEEPALIVE": (1, 9),
    "SO_OOBINLINE": (1, 10),
    "SO_REUSEADDR": (1, 2),
    "SO_REUSEPORT": (1, 15),
    "IP_TOS": (0, 1),
    "IP_TTL": (0, 2),
    "IP_PKTINFO": (0, 8),
    "IP_FREEBIND": (0, 15),
    "TCP_NODELAY": (6, 1),
    "TCP_CORK": (6, 3),
    "TCP_KEEPIDLE": (6, 4),
    "TCP_KEEPINTVL": (6, 5),
    "TCP_KEEPCNT": (6, 6),
}


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 1 that nobody is in, or a skip."""
    mount = Path("/sys/fs/cgroup/pids")
    if not (mount / "tasks").exists():
        pytest.skip("no control groups of version 1")
    path = mount / f"lamina-test-{os.getpid()}"
    path.mkdir()
    yield path
    with suppress(OSError):
        path.rmdir()


def state_of(victim: Victim) -> dict[str, Any]:
    """What it answers, but for three flags of its memory: that it is tracked (userfaultfd), and whether it counts as promised
    or may have guard pages, which two depend on what it was once joined to."""
    state: dict[str, Any] = victim.ask()
    state["flags"] = [sorted(set(flags.split()) - {"uw", "ac", "gu"}) for flags in state["flags"]]
    return state


def test_settings_that_images_have_no_field_for(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Of two threads with different values, of the process and of its memory."""
    loginuid = Path("/proc/self/loginuid")
    victim = start_c(reaper, tmp_path / "victim", "settings", *([LOGIN] if loginuid.exists() else []))
    before = state_of(victim)
    assert before["main"] != before["worker"]
    if tuple(map(int, platform.release().split(".")[:2])) >= (6, 15):
        assert before["guards"] == ["Agg0E0Gg"] * 3
    future = victim.ask("future")
    for last in (False, True):
        layer = layers.new()
        (notice,) = dump(victim, layer, last=last).json["notices"]
        assert "shared memory in files" in notice and notice.endswith("/mapped")
        assert last or state_of(victim) == before
        assert restore(victim, layer).json["notices"] == [notice]
        assert state_of(victim) == before
        assert victim.ask("future") == future == {"locked": 1, "onfault": 1}


def test_control_groups_of_children_and_threads(reaper: Reaper, layers: Layers, tmp_path: Path, group: Path) -> None:
    directory = tmp_path / "victim"
    directory.mkdir()
    (directory / "cgroup").write_text(f"{group}\n")
    victim = start_c(reaper, directory, "settings")
    before = victim.ask()
    assert group.name in before["child's"] and group.name not in before["groups"]
    # The thread that answers last, too: a group of version 1 may hold one thread of a process.
    thread = next(int(tid) for tid in os.listdir(f"/proc/{victim.pid}/task") if int(tid) != victim.pid)
    (group / "tasks").write_text(str(thread))
    before = state_of(victim)
    assert group.name in before["thread's"]
    layer = layers.new()
    dump(victim, layer)
    (shared,) = restore(victim, layer).json["notices"]
    assert state_of(victim) == before
    victim.end()
    group.rmdir()
    (told,) = {note.partition(":")[2] for note in restore(victim, layer).json["notices"] if note != shared}
    assert group.name in told and "none of that name" in told
    assert len(tree_of(victim.pid)) == 2


def test_memory_that_may_only_be_executed(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """The protection key that the kernel takes for it is made again with it; its pages are dumped although nobody may read them."""
    victim = start_python(reaper, tmp_path / "victim", "execute_only")
    has_keys = " ospke" in Path("/proc/cpuinfo").read_text()
    parent = None
    for number in (42, 1000):
        before = victim.ask(f"set {number}")
        assert before == {"returned": [number, number + 1], "can read": not has_keys}
        layer = layers.new()
        dump(victim, layer, parent=parent)
        restore(victim, layer)
        assert victim.ask() == before
        parent = layer


def test_options_of_listening_sockets(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Of both families, every option that this machine lets be set to something unusual."""
    directory = tmp_path / "victim"
    directory.mkdir()
    asked = {name: (option.level, option.number, option.size) for name, option in OPTIONS.items()}
    asked |= {name: (*where, 4) for name, where in IN_RECORDS.items()}
    (directory / "options").write_text(json.dumps([[name, *where] for name, where in asked.items()]))
    victim = start_python(reaper, directory, "listeners")
    unusual = victim.ask("unusual")
    assert len(unusual) > 0.7 * len(asked), sorted(set(asked) - set(unusual))
    before = victim.ask()
    layer = layers.new()
    dump(victim, layer)
    assert not restore(victim, layer).json["notices"]
    after = victim.ask()
    for one, other in zip(before, after, strict=True):
        assert {name: (one[name], other[name]) for name in asked if one[name] != other[name]} == {}
