"""What each verb prints, writes and leaves, on a real program."""

import json
import os
import subprocess
from pathlib import Path

from tests.live.harness import Layers, Reaper, dump, lamina, need, restore, start_c

STATS = ("freezing_time", "frozen_time", "memdump_time", "memwrite_time", "pages_scanned", "pages_skipped_parent", "pages_written")


def test_statistics_are_criu_s_and_in_stats_dump(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    need("crit")
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    first, second = layers.new(), layers.new()
    dump(victim, first)
    victim.ask("write 10 1")
    stats = dump(victim, second, parent=first).json["stats"]
    assert set(stats) >= set(STATS)
    decoded = json.loads(subprocess.run(["crit", "decode", "-i", second / "stats-dump"], capture_output=True, check=True).stdout)
    kept = decoded["entries"][0]["dump"]
    assert {name: kept[name] for name in STATS} == {name: stats[name] for name in STATS}
    assert 0 < stats["pages_written"] < stats["pages_skipped_parent"] < stats["pages_scanned"]
    assert stats["frozen_time"] > 0


def test_a_dump_says_what_it_did_in_one_line(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    layer = layers.new()
    ran = lamina("dump", "-t", victim.pid, "-D", layer, "-R", "--track-mem", "--label", "after import")
    assert ran.err == "" and len(ran.out.splitlines()) == 1
    for word in (str(layer), str(victim.pid), "pages", "frozen", "uffd-wp async"):
        assert word in ran.out, ran.out
    assert "after import" in lamina("stack", layers.path).out
    entry = lamina("stack", layers.path, "--json").json["layers"][0]
    assert entry["label"] == "after import" and entry["restorable"] and entry["own_pages"] >= 1024


def test_images_are_for_their_owner_only(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    layer = layers.new()
    dump(victim, layer)
    assert {oct(path.stat().st_mode & 0o777) for path in layer.iterdir() if path.is_file()} == {"0o600"}


def test_ps_shows_what_is_tracked_and_where_it_stands(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    layer = layers.new()

    def row() -> dict[str, object]:
        found: dict[str, object] = next(each for each in lamina("ps", "--json").json["processes"] if each["pid"] == victim.pid)
        return found

    assert row()["tracker"] == "" and row()["layer_dir"] == "" and row()["protected"] == ""
    dump(victim, layer)
    assert row()["tracker"] == "uffd-wp async" and row()["layer_dir"] == str(layer)
    lamina("untrack", "-t", victim.pid)
    assert row()["tracker"] == ""
    dump(victim, layers.new(), last=True)
    restore(victim, layers.path / "2")
    assert row()["layer_dir"] == str(layers.path / "2")


def test_pidfile_and_log(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    layer = layers.new()
    dump(victim, layer, "-v4", "-o", "dump.log", last=True)
    assert (layer / "dump.log").read_text().strip()
    lamina("restore", "-D", layer, "-d", "--pidfile", tmp_path / "pid")
    assert int((tmp_path / "pid").read_text()) == victim.pid
    victim.ask()


def test_check_names_what_stands_in_the_way(reaper: Reaper, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    assert lamina("check", "-t", victim.pid, "--json").json["dumpable"] is True
    assert all(each["name"] for each in lamina("check", "--json").json["capabilities"])
    script = "import socket, sys; udp = socket.socket(type=socket.SOCK_DGRAM); sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen([os.fspath(Path("/usr/bin/env")), "python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.read(1)
    ran = lamina("check", "-t", process.pid, ok=False)
    assert ran.status == 1 and "socket" in ran.out and ran.err == "", ran.said
    assert lamina("check", "-t", process.pid, "--json", ok=False).json["dumpable"] is False
    process.communicate()


def test_show_has_every_file(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    layer = layers.new()
    dump(victim, layer)
    shown = lamina("show", layer, "--json").json
    assert {path.name for path in layer.iterdir() if path.is_file()} <= set(shown)
    text = lamina("show", layer / f"core-{victim.pid}.img").out
    assert "thread_info" in text and "gpregs" in text
    head = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    ran = lamina_into(head, "show", layer)
    assert ran == "", ran


def lamina_into(reader: "subprocess.Popen[bytes]", *args: object) -> str:
    """Run lamina with its output going to *reader*, which leaves early; returns what it said on standard error."""
    from tests.live.harness import lamina_command

    assert reader.stdin
    done = subprocess.run(lamina_command(*args), stdin=subprocess.DEVNULL, stdout=reader.stdin, stderr=subprocess.PIPE, check=False)
    reader.stdin.close()
    reader.wait()
    return done.stderr.decode()
