"""docs/diskless.md, typed as it is written; and how much a receiver holds while layer after layer arrives."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image.holes import file_holes
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.transfer.wire import PAGES_ID
from tests.live.harness import PATIENCE_S, ROOT, Layers, Reaper, full, lamina, lamina_command, wait_gone
from tests.live.page_servers import copy_images, page_server, resize, used_of
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


def restored(program: Cells, stack: Layers, received: Path, number: int) -> dict[str, object]:
    """The state of the program, ended and brought back from a received layer."""
    copy_images(stack.path / str(number), received / str(number))
    program.victim.end()
    lamina("restore", "-D", received / str(number), "-d")
    state: dict[str, object] = program.victim.ask()
    return state


@dataclass
class Large(Cells):
    """So large that its tenth is copied in live rounds, which come out of order."""

    mib = full(256, 16)


def test_a_receiver_never_takes_more_than_a_copy_and_the_layer_that_arrives(
    reaper: Reaper, layers: Layers, tmpfs: Path, tmp_path: Path, tally: Counter[str]
) -> None:
    """Its tmpfs has no room for more than 1.1 copies of what the newest reaches and one layer: more would be a full disk."""
    program = Large.launch(reaper, tmp_path / "victim")
    copy, tenth = program.mib << 20, (program.mib * 256 // 10) * PAGE
    for number in range(1, full(20, 3) + 1):
        # Both are a little less than what the layers reach and hold: the program has more than its cells.
        room = copy * 11 // 10 + (tenth if number > 1 else copy)
        resize(tmpfs, room)
        with watched(tmpfs) as taken:
            states = sent(program, layers, tmpfs, number, 1, "--auto-dedup")
        own = Layer(tmpfs / str(number)).pagemap(program.victim.pid).data_bytes
        assert number == 1 or own < 2 * tenth, "the layer is no increment"
        assert max(taken) > copy
        tally[f"layer received on a tmpfs of 1.1 copies and one layer; {max(taken) / room:.0%} of it taken"] += 1
    assert used_of(tmpfs) <= 1.1 * copy
    assert restored(program, layers, tmpfs, number) == states[-1]


@contextmanager
def watched(tmpfs: Path) -> Iterator[list[int]]:
    """While this lasts, what is taken there, over and over."""
    taken, done = [used_of(tmpfs)], threading.Event()

    def look() -> None:
        while not done.wait(0.001):
            taken.append(used_of(tmpfs))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield taken
    finally:
        done.set()
        thread.join()


def test_what_older_layers_hold_is_what_the_newest_or_a_branch_reaches(reaper: Reaper, layers: Layers, tmpfs: Path, tmp_path: Path) -> None:
    program = Cells.launch(reaper, tmp_path / "victim")
    pid, count = program.victim.pid, full(20, 4)
    sent(program, layers, tmpfs, 1, count - 1, "--auto-dedup")
    branch = tmpfs / "branch"  # a layer off the chain: what it inherits has to stay
    subprocess.run(["cp", "-a", tmpfs / str(count - 1), branch], check=True)
    kept = memory_of(branch, pid)
    assert held_by_ancestors(tmpfs / str(count - 1)) == reached_in_ancestors(branch, pid)
    state = sent(program, layers, tmpfs, count, 1, "--auto-dedup")[0]
    newest, of_branch = reached_in_ancestors(tmpfs / str(count), pid), reached_in_ancestors(branch, pid)
    both = {path: newest.get(path, PageRuns.empty()) | of_branch.get(path, PageRuns.empty()) for path in {**newest, **of_branch}}
    assert any(of_branch[path] - newest.get(path, PageRuns.empty()) for path in of_branch), (
        "the branch needs nothing that the newest does not"
    )
    both.pop(branch / f"pages-{PAGES_ID}.img", None)
    assert held_by_ancestors(tmpfs / str(count)) == both
    assert memory_of(branch, pid) == kept
    assert restored(program, layers, tmpfs, count) == state


def held_by_ancestors(layer: Path) -> dict[Path, PageRuns]:
    """Where the pages files of its ancestors have data: offsets."""
    held = {}
    for path in (path for member in Layer(layer).chain()[1:] for path in member.path.glob("pages-*.img")):
        size = path.stat().st_size
        held[path] = PageRuns.of([(0, size)]) - file_holes(path, size)
    return {path: runs for path, runs in held.items() if runs}


def reached_in_ancestors(layer: Path, pid: int) -> dict[Path, PageRuns]:
    """What the layer needs of the pages files of its ancestors: offsets."""
    chain = Layer(layer).chain()
    return {
        share.layer.path / share.pages_file.name: PageRuns.from_arrays(share.offsets, share.offsets + share.runs.sizes)
        for share in resolve(chain, pid).shares
        if share.layer.key != chain[0].key
    }


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
    for number in (2, 1, 3):
        assert restored(program, layers, tmp_path / "R", number) == states[number - 1], number
