"""Tracking that another lamina began or ended, or that was lost: recognised, said where the user looks, and others' files are let be."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamina.core.dirty.choice import probe
from tests.live.harness import Layers, Ran, Reaper, dump, lamina, lamina_command, need_root, start_c

pytestmark = pytest.mark.skipif(not probe().available, reason=f"no {probe().name}: {probe().reason}")


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def in_another_namespace(script: str) -> Ran:
    """Run *script* as the first process of a pid namespace of its own, with a /proc of its own."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)
    return Ran((script,), done.returncode, done.stdout, done.stderr)


def test_laminas_of_two_pid_namespaces_share_a_state_directory(
    reaper: Reaper, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with the host's /run: each sees processes of its own, and takes none of the other's for ended."""
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "state"))
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    first, second = layers.new(), layers.new()
    dump(victim, first)
    before = files_of(tmp_path / "state")
    assert len(before) == 2
    stack = tmp_path / "inside"
    (stack / "1").mkdir(parents=True)
    say = " ".join(map(shlex.quote, lamina_command()))
    ran = in_another_namespace(f"""
        set -e; exec 3>&- 4>&-
        setsid sleep 1000 </dev/null >/dev/null 2>&1 & pid=$!
        {say} dump -t $pid -D {stack}/1 -R --track-mem
        {say} untrack -t $pid
        {say} ps >/dev/null
        kill $pid
    """)
    assert ran.status == 0, ran.said
    after = files_of(tmp_path / "state")
    assert {name: after.get(name) for name in before} == before
    victim.ask("write 10 1")
    stats = dump(victim, second, parent=first).json["stats"]
    assert stats["pages_skipped_parent"] > stats["pages_written"]
    lamina("untrack", "-t", victim.pid)
    assert {name for name in after if name not in before} <= set(files_of(tmp_path / "state"))


def test_tracked_under_another_state_directory(reaper: Reaper, layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user, then by sudo."""
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    first, second, third, fourth = (layers.new() for _ in range(4))
    monkeypatch.setenv("LAMINA_STATE_DIR", theirs)
    dump(victim, first)

    monkeypatch.setenv("LAMINA_STATE_DIR", ours)
    checked = lamina("check", "-t", victim.pid)
    assert "can be dumped" in checked.out and f"untrack --force -t {victim.pid}" in checked.out
    refused = lamina("untrack", "-t", victim.pid, ok=False)
    assert refused.status == 1 and "keeps its notes elsewhere" in refused.err and "--force" in refused.err, refused.said
    assert "keeps its notes elsewhere" in lamina("track", "-t", victim.pid, ok=False).err
    # It is dumped all the same, in full, and the other's tracking goes on.
    ran = dump(victim, second, parent=first)
    assert ran.json["stats"]["pages_skipped_parent"] == 0
    assert "full" in ran.err and "--force" in ran.err, ran.err
    monkeypatch.setenv("LAMINA_STATE_DIR", theirs)
    victim.ask("write 10 1")
    stats = dump(victim, third, parent=first).json["stats"]
    assert stats["pages_skipped_parent"] > stats["pages_written"] > 9

    monkeypatch.setenv("LAMINA_STATE_DIR", ours)
    before = os.listdir(f"/proc/{victim.pid}/fd")
    assert lamina("untrack", "--force", "-t", victim.pid, "--json").json["was_tracked"]
    assert len(os.listdir(f"/proc/{victim.pid}/fd")) == len(before) - 1
    monkeypatch.setenv("LAMINA_STATE_DIR", theirs)
    assert "its next dump is a full one: tracking was ended from outside" in lamina("check", "-t", victim.pid).out
    assert next(row for row in lamina("ps", "--json").json["processes"] if row["pid"] == victim.pid)["tracker"] == ""
    ran = dump(victim, fourth, parent=third)
    assert ran.json["stats"]["pages_skipped_parent"] == 0
    assert "another lamina took it out" in ran.err, ran.err


def test_a_program_that_became_another(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nos.execvp('sleep', ['sleep', '1000'])"
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    program.returncode = 0
    reaper.watch(program.pid)
    first, second = layers.new(), layers.new()
    lamina("dump", "-t", program.pid, "-D", first, "-R", "--track-mem")
    (tmp_path / "go").touch()
    while Path(f"/proc/{program.pid}/comm").read_text() != "sleep\n":
        time.sleep(0.01)
    ran = lamina("dump", "-t", program.pid, "-D", second, "-R", "--prev-images-dir", "../1")
    assert "a full layer: nothing is inherited from ../1: it became another program by exec" in ran.err, ran.said


def test_a_full_file_system_for_state_is_one_line(layers: Layers, tmp_path: Path) -> None:
    need_root()
    state, layer = tmp_path / "state", layers.new()
    state.mkdir()
    say = " ".join(map(shlex.quote, lamina_command("dump", "-D", layer, "-R", "--track-mem", "-t")))
    script = f"""
        mount -t tmpfs -o size=8k,mode=700 small {state}; dd if=/dev/zero of={state}/full 2>/dev/null
        setsid sleep 1000 </dev/null >/dev/null 2>&1 & pid=$!
        LAMINA_STATE_DIR={state} {say} $pid; status=$?
        ls /proc/$pid/fd | wc -l; grep -c " rwxp .* 0 *$" /proc/$pid/maps
        kill $pid; exit $status
    """
    words = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.split() == ["3", "0"], "nothing stays in the program"
    assert list(layer.iterdir()) == []
