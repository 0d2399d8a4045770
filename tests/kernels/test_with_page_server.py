"""Pages over a wire between criu and lamina, both ways, in layers that stand on each other: what arrives restores with both."""

import fcntl
import os
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernels.criu import PATH, criu_dump, criu_restore
from tests.kernels.programs import BOTH
from tests.kernels.test_with_criu import back_to, three_layers
from tests.live.harness import PATIENCE_S, Layers, Reaper, Victim, dump, restore
from tests.live.page_servers import copy_images, page_server
from tests.live.programs import Program
from tests.live.test_diskless import free_port

kinds = pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def loopback() -> None:
    """A guest comes up without it (netdevice(7))."""
    if not os.environ.get("LAMINA_KERNEL"):
        return
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket() as any_socket:
        found = fcntl.ioctl(any_socket, get_flags, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", found)[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def wire() -> int:
    """Which frames this criu has: those of 32 bytes came with 4.2."""
    said = subprocess.run(["criu", "--version"], capture_output=True, text=True, check=True, env=os.environ | {"PATH": PATH}).stdout
    numbers = said.split("Version:")[1].split()[0].split(".")
    return 32 if (int(numbers[0]), int(numbers[1])) >= (4, 2) else 24


@contextmanager
def criu_server(layer: Path, parent: Path | None) -> Iterator[list[object]]:
    """`criu page-server` for *layer*; gives the options of a dump that sends to it."""
    layer.mkdir(parents=True)
    port, (reader, writer) = free_port(), os.pipe()
    on = ["--prev-images-dir", f"../{parent.name}"] if parent else []
    server = subprocess.Popen(
        ["criu", "page-server", "-D", layer, "--address", "127.0.0.1", "--port", str(port), "--status-fd", str(writer), "-o", "server.log",
         "-v4", *on],
        pass_fds=[writer], env=os.environ | {"PATH": PATH},
    )  # fmt: skip
    os.close(writer)
    assert os.read(reader, 1) == b"\0"
    os.close(reader)
    try:
        yield ["--page-server", "--port", port, "--wire", wire()]
        assert server.wait(PATIENCE_S) == 0, (layer / "server.log").read_text()[-2000:]
    finally:
        server.kill()
        server.wait()


@kinds
def test_ours_to_criu_and_back_with_both(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    received = tmp_path / "R"

    def dumping(victim: Victim, layer: Path, parent: Path | None, last: bool) -> None:
        with criu_server(received / layer.name, parent) as where:
            dump(victim, layer, *where, parent=parent, last=last)
        copy_images(layer, received / layer.name)

    program = kind.launch(reaper, tmp_path / "victim")
    for layer in reversed(three_layers(program, layers, dumping)):
        for restoring in (restore, criu_restore):
            back_to(program, layer, lambda victim, at, how=restoring: how(victim, arrived(at, received)))
            tally[f"lamina dump to criu page-server, restored: {kind.name}"] += 1


@kinds
def test_criu_to_ours_and_back_with_both(kind: type[Program], reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    received = tmp_path / "R"

    def dumping(victim: Victim, layer: Path, parent: Path | None, last: bool) -> None:
        on = ["--prev-images-dir", f"../{parent.name}"] if parent else []
        with page_server(received / layer.name, *on) as server:
            began = time.monotonic()
            criu_dump(victim, layer, "--page-server", "--address", "127.0.0.1", "--port", server.port, parent=parent, last=last)
            told = server.end().json
            assert told["form"] == wire() and time.monotonic() - began < 4 * PATIENCE_S
        copy_images(layer, received / layer.name)

    program = kind.launch(reaper, tmp_path / "victim")
    for layer in reversed(three_layers(program, layers, dumping)):
        for restoring in (restore, criu_restore):
            back_to(program, layer, lambda victim, at, how=restoring: how(victim, arrived(at, received)))
            tally[f"criu dump to lamina page-server, restored: {kind.name}"] += 1


def arrived(layer: Path, received: Path) -> Path:
    """The harness knows a layer by where it was sent from: put what was received, with its ancestors, there."""
    copy_images(received, layer.parent)
    return layer
