"""Everything a user can get wrong: one line that says what, a status, and nothing changed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.harness import (
    PATIENCE_S,
    Layers,
    Ran,
    Reaper,
    Victim,
    alive,
    dump,
    lamina,
    lamina_command,
    need,
    need_root,
    start_c,
)
from tests.live.trace import Observed, observe


def refused(ran: Ran, *words: str, status: int = 1) -> None:
    """*ran* failed with one line on standard error, which has all *words*, and nothing on standard output."""
    assert ran.status == status, ran.said
    lines = ran.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("lamina"), ran.said
    assert ran.out == "", ran.said
    assert "Traceback" not in ran.err and "lamina failed" not in ran.err, ran.said
    for word in words:
        assert word.lower() in lines[0].lower(), f"{word!r} is not said: {ran.said}"


@dataclass
class Quiet:
    """A victim that must not notice anything."""

    victim: Victim
    seen: Observed
    state: dict[str, object]

    def unchanged(self) -> None:
        assert alive(self.victim.pid)
        assert observe(self.victim.pid) == self.seen
        assert self.victim.ask() == self.state


@pytest.fixture
def quiet(reaper: Reaper, tmp_path: Path) -> Quiet:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    return Quiet(victim, observe(victim.pid), victim.ask())


def empty(directory: Path) -> bool:
    return not os.listdir(directory)


# -- the target --------------------------------------------------------------------------------------------------------------------


def kernel_thread() -> int:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != 2 and Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1] == "2":
            return int(name)
    pytest.skip("no kernel thread can be seen in this pid namespace")


def free_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("verb", ["dump", "track", "untrack"])
@pytest.mark.parametrize(
    ("pid", "words"),
    [(free_pid, ("no such process",)), (kernel_thread, ("kernel thread",)), (lambda: 1, ("1",)), (os.getpid, (str(os.getpid()),))],
    ids=["no such pid", "kernel thread", "pid 1", "ancestor of lamina"],
)
def test_not_a_target(verb: str, pid: object, words: tuple[str, ...], layers: Layers) -> None:
    need_root()
    layer = layers.new()
    assert callable(pid)
    refused(lamina(verb, "-t", pid(), *(("-D", layer, "-R") if verb == "dump" else ()), ok=False), *words)
    assert empty(layer)


def test_lamina_itself(layers: Layers) -> None:
    need_root()
    layer = layers.new()
    program = " ".join(lamina_command("dump", "-t", "$$", "-D", layer, "-R"))
    done = subprocess.run(["sh", "-c", f"exec {program}"], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    refused(Ran(("dump",), done.returncode, done.stdout, done.stderr), "lamina itself")
    assert empty(layer)


def test_under_a_debugger(quiet: Quiet, layers: Layers, tmp_path: Path, reaper: Reaper) -> None:
    need("gdb")
    attached, leave = tmp_path / "attached", tmp_path / "leave"
    os.mkfifo(attached)
    os.mkfifo(leave)
    debugger = subprocess.Popen(
        ["gdb", "--quiet", "--nx", "--batch", "-p", str(quiet.victim.pid), "-ex", f"shell echo > {attached}", "-ex", f"shell cat {leave}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        attached.read_text()
        layer = layers.new()
        refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", ok=False), "gdb")
        assert empty(layer)
    finally:
        leave.write_text("")
        debugger.wait(PATIENCE_S)
    quiet.unchanged()


# -- the images directory ----------------------------------------------------------------------------------------------------------


def test_images_dir_is_missing(quiet: Quiet, tmp_path: Path) -> None:
    refused(lamina("dump", "-t", quiet.victim.pid, "-D", tmp_path / "nowhere", "-R", ok=False), "nowhere")
    assert not (tmp_path / "nowhere").exists()
    quiet.unchanged()


def test_images_dir_is_not_writable(quiet: Quiet) -> None:
    # Root may write anywhere but in sysfs.
    refused(lamina("dump", "-t", quiet.victim.pid, "-D", "/sys/kernel", "-R", ok=False), "/sys/kernel")
    quiet.unchanged()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    need_root()
    where = tmp_path / "small"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", where], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", where], check=True)


def test_images_dir_is_full(quiet: Quiet, small: Path) -> None:
    layer = small / "1"
    layer.mkdir()
    for _ in range(2):
        refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", "--track-mem", ok=False), "space")
        assert empty(layer), os.listdir(layer)
    lamina("untrack", "-t", quiet.victim.pid, ok=False)  # it may be tracked still, or never have been
    quiet.unchanged()


def test_images_dir_already_holds_a_layer(quiet: Quiet, layers: Layers) -> None:
    layer = layers.new()
    dump(quiet.victim, layer)
    held = {path.name: path.read_bytes() for path in layer.iterdir() if path.is_file()}
    refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", ok=False), "already", str(layer))
    assert {path.name: path.read_bytes() for path in layer.iterdir() if path.is_file()} == held
    lamina("untrack", "-t", quiet.victim.pid)
    quiet.unchanged()


# -- the parent --------------------------------------------------------------------------------------------------------------------


def test_parent_is_not_a_layer(quiet: Quiet, layers: Layers) -> None:
    nothing, layer = layers.new(), layers.new()
    refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", "--prev-images-dir", "../1", ok=False), "not a layer")
    refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", "--prev-images-dir", "../nowhere", ok=False), "nowhere")
    assert empty(layer) and empty(nothing)
    quiet.unchanged()


def test_parent_is_of_another_program(quiet: Quiet, layers: Layers, reaper: Reaper, tmp_path: Path) -> None:
    other = start_c(reaper, tmp_path / "other", "cells", 1)
    first, layer = layers.new(), layers.new()
    dump(other, first)
    refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", "--track-mem", "--prev-images-dir", "../1", ok=False), str(other.pid))
    assert empty(layer)
    quiet.unchanged()


# -- the layer to restore ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ended(reaper: Reaper, layers: Layers, tmp_path: Path) -> tuple[Victim, Path]:
    """A program that its last dump has ended, on a layer with a parent."""
    victim = start_c(reaper, tmp_path / "ended", "cells", 1)
    first, layer = layers.new(), layers.new()
    dump(victim, first)
    victim.ask("write 20 1")
    dump(victim, layer, parent=first, last=True)
    return victim, layer


IMAGES = (
    "inventory.img", "pstree.img", "core-*.img", "mm-*.img", "pagemap-*.img", "pages-1.img", "files.img", "fdinfo-*.img",
    "../1/pages-1.img", "../1/inventory.img",
)  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_file_is_cut_short_or_gone(name: str, ended: tuple[Victim, Path]) -> None:
    victim, layer = ended
    path = next(layer.glob(name)) if ".." not in name else (layer / name).resolve()
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 6, 0):
        path.write_bytes(content[:size])
        refused(lamina("restore", "-D", layer, "-d", ok=False), path.name)
        assert not alive(victim.pid)
    path.unlink()
    refused(lamina("restore", "-D", layer, "-d", ok=False), path.name)
    assert not alive(victim.pid)
    path.write_bytes(content)
    lamina("restore", "-D", layer, "-d")
    assert victim.ask()["wrong"] == 0


def test_pid_is_taken(quiet: Quiet, layers: Layers) -> None:
    layer = layers.new()
    dump(quiet.victim, layer)
    lamina("untrack", "-t", quiet.victim.pid)
    refused(lamina("restore", "-D", layer, "-d", ok=False), str(quiet.victim.pid), "cells", "--replace")
    quiet.unchanged()


def test_file_has_another_size(ended: tuple[Victim, Path]) -> None:
    victim, layer = ended
    out = victim.dir / "out"
    with out.open("ab") as file:
        file.write(b"x")
    refused(lamina("restore", "-D", layer, "-d", ok=False), str(out), "size")
    assert not alive(victim.pid)
    os.truncate(out, 0)
    lamina("restore", "-D", layer, "-d")
    assert victim.ask()["wrong"] == 0


def test_file_is_gone(ended: tuple[Victim, Path]) -> None:
    victim, layer = ended
    out = victim.dir / "out"
    out.unlink()
    refused(lamina("restore", "-D", layer, "-d", ok=False), str(out))
    assert not alive(victim.pid)


def test_images_of_another_user(ended: tuple[Victim, Path]) -> None:
    victim, layer = ended
    os.chown(layer / "inventory.img", 65534, 65534)
    refused(lamina("restore", "-D", layer, "-d", ok=False), "--trust")
    assert not alive(victim.pid)
    lamina("restore", "-D", layer, "-d", "--trust")
    assert victim.ask()["wrong"] == 0


def test_restore_what_is_no_layer(tmp_path: Path) -> None:
    need_root()
    refused(lamina("restore", "-D", tmp_path / "nowhere", "-d", ok=False), "nowhere")
    (tmp_path / "bare").mkdir()
    refused(lamina("restore", "-D", tmp_path / "bare", "-d", ok=False), "bare", "not a layer")
    for verb in ("stack", "show"):
        refused(lamina(verb, tmp_path / "nowhere", ok=False), "nowhere")
    refused(lamina("dedup", "-D", tmp_path / "bare", ok=False), "bare")


# -- two at once -------------------------------------------------------------------------------------------------------------------


def test_second_lamina_on_the_same_target(quiet: Quiet, layers: Layers) -> None:
    from lamina.core.attach.identity import identify
    from lamina.core.dirty.state import lock_target

    layer = layers.new()
    with lock_target(identify(quiet.victim.pid)):
        refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", ok=False), str(quiet.victim.pid), str(os.getpid()))
    assert empty(layer)
    quiet.unchanged()


def test_second_lamina_on_the_same_stack(quiet: Quiet, layers: Layers) -> None:
    from lamina.core.image.lock import locked

    layer = layers.new()
    with locked(layers.path):
        refused(lamina("dump", "-t", quiet.victim.pid, "-D", layer, "-R", ok=False), str(layers.path), str(os.getpid()))
    assert empty(layer)
    quiet.unchanged()


# -- wrong usage -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("dump",), ("dump", "-t", "x", "-D", "."), ("dump", "-t", "0", "-D", "."), ("restore",), ("nonsense",), ("track",),
        ("stack",), ("restore", "-D", ".", "--nonsense"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    refused(lamina(*words, ok=False, cwd=tmp_path), status=2)
    assert empty(tmp_path)


# -- cancelled ---------------------------------------------------------------------------------------------------------------------


def interrupted(command: list[str]) -> tuple[int, bytes]:
    """Run *command* with a terminal for its progress, and SIGINT at the first sign of that. Its exit status, and what it said there."""
    main, side = os.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=side)
    os.close(side)
    said = os.read(main, 4096)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:
            break
        said += part
    os.close(main)
    return process.wait(PATIENCE_S), said


def test_ctrl_c_during_a_dump(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """Cancelled at the first sign of progress: one line, no layer, and the target as it was."""
    victim = start_c(reaper, tmp_path / "victim", "cells", 512)
    seen, state = observe(victim.pid), victim.ask()
    for _ in range(10):
        layer = layers.new()
        status, said = interrupted(lamina_command("dump", "-t", victim.pid, "-D", layer, "-R"))
        if status:
            break  # else it was done before the signal came
    assert status == 1, said
    last = said.decode().rpartition("\x1b[K")[2]
    assert "cancelled" in last and len(last.splitlines()) == 1, said
    assert empty(layer)
    assert observe(victim.pid) == seen and victim.ask() == state
