"""docs/diskless.md, typed as it is written; and how much a receiver holds while layer after layer arrives."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from tests.live.harness import PATIENCE_S, ROOT, Layers, Reaper, full, lamina, lamina_command, wait_gone
from tests.live.page_servers import blocks_of, copy_images, page_server
from tests.live.programs import Cells


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for R and S; what was mounted and started there is gone afterwards."""
    yield tmp_path
    pid = tmp_path / "R/pid"
    if pid.exists():
        with_pid = int(pid.read_text())
        if Path(f"/proc/{with_pid}/cwd").exists() and os.readlink(f"/proc/{with_pid}/cwd") == str(tmp_path):
            os.kill(with_pid, signal.SIGKILL)
    if os.path.ismount(tmp_path / "R"):
        subprocess.run(["umount", "-l", tmp_path / "R"], check=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def typed(document: str) -> list[str]:
    """The blocks of shell in one of our documents."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)


def shell(text: str, directory: Path, **variables: object) -> str:
    """Run *text* as a user would, in *directory*; every line must succeed."""
    command = " ".join(lamina_command())
    script = f'set -eu\nlamina() {{ {command} "$@"; }}\n{text}'
    env = os.environ | {name: str(value) for name, value in variables.items()}
    process = subprocess.Popen(["bash", "-c", script], cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 4 * PATIENCE_S
    while True:
        try:
            out, err = process.communicate(timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, f"{text}\ndoes not end"
            with suppress(OSError, ValueError):  # a daemon is ours to reap: we are the subreaper of all that is started here
                os.waitpid(int((directory / "R/pid").read_text()), os.WNOHANG)
    assert process.returncode == 0, f"{text}\n{out}{err}"
    return out


def test_the_session_of_the_document_as_it_is_typed(reaper: Reaper, place: Path) -> None:
    program = Cells.launch(reaper, place / "victim")
    prepare, dumps, back = typed("diskless.md")
    variables = {"PID": program.victim.pid, "PORT": free_port()}
    shell(prepare, place, **variables)
    states = []
    for dump in dumps.strip().split("\n\n"):
        program.move_on()
        states.append(program.victim.ask())
        shell(dump, place, **variables)
    wait_gone(program.victim.pid)
    assert not list((place / "S").rglob("pages-*")) and not list((place / "S").rglob("pagemap-*"))
    shell(back, place, **variables)
    assert program.victim.ask() == states[-1]
    program.move_on()
    report = lamina("verify", place / "R", "--json", ok=False).json
    assert [it["state"] for it in report["layers"]] == ["not restorable", "not restorable", "restorable"]
    assert {it["state"] for it in lamina("verify", place / "S", "--json").json["layers"]} == {"pages elsewhere"}


def sent(program: Cells, stack: Layers, received: Path, first: int, count: int, *options: object) -> list[dict[str, object]]:
    """Send layers of a program that rewrites a tenth of itself each time, the *first* and so on; returns its state at each."""
    states = []
    for number in range(first, first + count):
        if number > 1:
            program.write(program.mib * 256 // 10)
        states.append(program.victim.ask())
        on = [] if number == 1 else ["--prev-images-dir", f"../{number - 1}"]
        with page_server(received / str(number), *on, *options) as server:
            lamina("dump", "-t", program.victim.pid, "-D", stack.new(), "-R", "--track-mem", *on, *server.sending)
            server.end()
    return states


def test_what_older_layers_hold_is_what_the_newest_or_a_branch_reaches(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """A receiver holds 1.1 copies and one layer at most, and what the newest and a layer off the chain reach stays byte for byte."""
    program = Cells.launch(reaper, tmp_path / "victim")
    pid, received, count = program.victim.pid, tmp_path / "R", full(20, 4)
    states = []
    for number in range(1, count + 1):
        if number == count:  # a layer off the chain: what it inherits has to stay
            newest = received / str(count - 1)
            subprocess.run(["cp", "-a", newest, received / "branch"], check=True)
            kept = memory_of(received / "branch", pid), memory_of(newest, pid)
            held = blocks_of(received)
        states += sent(program, layers, received, number, 1, "--auto-dedup")
        chain = Layer(received / str(number)).chain()
        reached, layer = resolve(chain, pid).runs.bytes, chain[0].pagemap(pid).data_bytes
        if number < count:
            # The peak is the moment of the commit: the new layer is whole, and the ancestors have what they had.
            assert blocks_of(received) <= 1.02 * reached, (number, blocks_of(received), reached)
            assert blocks_of(received) + layer <= 1.1 * reached + layer
    assert memory_of(received / "branch", pid) == kept[0] == kept[1]
    assert blocks_of(received) > held, "nothing was kept for the branch"
    copy_images(layers.path / str(count), received / str(count))
    program.victim.end()
    lamina("restore", "-D", received / str(count), "-d")
    assert program.victim.ask() == states[-1]


def memory_of(layer: Path, pid: int) -> bytes:
    """All pages that a layer reaches, end to end."""
    held = b""
    for share in resolve(Layer(layer).chain(), pid).shares:
        with share.open() as content:
            held += b"".join(content.pread(int(size), int(at)) for size, at in zip(share.runs.sizes, share.offsets, strict=True))
    return held


def test_without_dedup_every_layer_restores(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    states = sent(program, layers, tmp_path / "R", 1, 3)
    program.victim.end()
    for number in (2, 1, 3):
        copy_images(layers.path / str(number), tmp_path / "R" / str(number))
        lamina("restore", "-D", tmp_path / "R" / str(number), "-d")
        assert program.victim.ask() == states[number - 1], number
        program.victim.end()
