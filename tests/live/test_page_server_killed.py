"""Sender killed, receiver killed, connection cut, disk full, each at random moments: nothing is lost, and no layer is half there."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lamina.core.dirty.runs import PAGE
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import DRAFT
from lamina.core.image.owners import resolve
from lamina.core.image.unconfirmed import NAME as AWAITING
from tests.live.harness import FULL, PATIENCE_S, Layers, Reaper, alive, full, wait_gone
from tests.live.page_servers import Server, copy_images, resize, start_ready_server, used_of
from tests.live.programs import Cells
from tests.live.ready import Ready
from tests.live.ready import ready as loaded

TIMES = full(100, 1)
ACCIDENTS = ("sender killed", "receiver killed", "connection cut", "disk full")


class Relay:
    """Stands between the two sides and hangs up after so many bytes."""

    def __init__(self, port: int, limit: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.carried = 0
        self._to, self._limit = port, limit
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                self._serve(self._listening.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        # Both sockets end with the two threads: one that is only shut down goes on taking what comes.
        server = socket.create_connection(("127.0.0.1", self._to))
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while part := one.recv(min(1 << 16, max(1, self._limit - self.carried))):
                other.sendall(part)
                self.carried += len(part)
                if self.carried >= self._limit:
                    one.shutdown(socket.SHUT_RDWR)
                    break
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()


@dataclass
class Pair:
    """Two stacks, of a sender and its receiver, and a program that is dumped from one to the other."""

    ready: Ready
    program: Cells
    sent: Layers
    received: Path
    accident: str
    dice: random.Random
    whole: int = 0  # the newest layer that is whole on both sides
    full: bool = True  # whether the next dump writes everything: the first one, and one after a dump that came to nothing
    took: dict[bool, float] = field(default_factory=dict)  # seconds of an undisturbed dump, by `full`
    stood: str = ""  # how far the one that was killed had come

    def prepared(self) -> tuple[Path, Path, list[str]]:
        layer = self.sent.new()
        there = self.received / layer.name
        there.mkdir(parents=True)
        return layer, there, ["--prev-images-dir", f"../{self.whole}"] if self.whole else []

    def undisturbed(self) -> None:
        """A layer that becomes the parent of what follows."""
        layer, there, on = self.prepared()
        server = start_ready_server(self.ready, there, *on, "--auto-dedup")
        began = time.monotonic()
        self.ready.run("dump", "-t", self.program.victim.pid, "-D", layer, "-R", "--track-mem", *on, *server.sending)
        self.took[self.full] = time.monotonic() - began
        server.end()
        self.whole, self.full = int(layer.name), False

    @property
    def size(self) -> int:
        """Bytes of pages that the next dump sends, about."""
        return (Cells.mib << 20) if self.full else Cells.pages_per_layer * PAGE

    def disturbed(self, last: bool) -> tuple[Path, Path]:
        """A dump in which something happens."""
        layer, there, on = self.prepared()
        server = start_ready_server(self.ready, there, *on, "--auto-dedup", "--timeout", "20s")
        carried = int(self.size * self.dice.uniform(0, 1.1)) + 1
        relay = Relay(server.port, carried) if self.accident == "connection cut" else None
        if self.accident == "disk full":
            self.limit(self.dice.uniform(0, 1.1))
        port = relay.port if relay else server.port
        words = ["dump", "-t", self.program.victim.pid, "-D", layer, *on, "--page-server", "--port", port, "--timeout", "20s"]
        process = self.ready.start(*words, *([] if last else ["-R", "--track-mem"]))
        if self.accident in ("sender killed", "receiver killed"):
            # The moment is what is random: nothing is awaited here.
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.dice.uniform(0, 1.1) * self.took[self.full])
            (process if self.accident == "sender killed" else server.process).send_signal(signal.SIGKILL)
            self.stood = how_far(layer if self.accident == "sender killed" else there)
        _, said = process.communicate(timeout=2 * PATIENCE_S)
        if process.returncode and process.returncode > 0:
            assert len([line for line in said.splitlines() if "cannot" in line or "lost" in line or "refused" in line]) == 1, said
        self.ended(server)
        if relay:
            relay.close()
        if self.accident == "disk full":
            self.limit(None)
        return layer, there

    def ended(self, server: Server) -> None:
        """The page server ends by itself once it was spoken to; one that nobody came to would wait for ever."""
        try:
            server.process.communicate(timeout=1 if self.accident == "sender killed" else PATIENCE_S)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.communicate()

    def limit(self, share: float | None) -> None:
        """Leave room for that share of a layer on the receiver's tmpfs, or for all."""
        size = 1 << 30
        if share is not None:
            size = used_of(self.received) + 4096 + int(share * self.size)
        resize(self.received, size)

    def memory(self, number: int) -> bytes:
        """All that a received layer reaches."""
        held = b""
        layer = Layer(self.received / str(number))
        for share in resolve(layer.chain(), self.program.victim.pid).shares:
            assert not share.punched, f"pages that {number} needs are gone from {share.layer.name}"
            with share.open() as content:
                held += b"".join(content.pread(int(n), int(at)) for n, at in zip(share.runs.sizes, share.offsets, strict=True))
        return held


def how_far(layer: Path) -> str:
    """What a side that was killed leaves behind tells where it stood."""
    if (layer / "inventory.img").exists():
        return "after its commit"
    if (layer / DRAFT / AWAITING).exists():
        return "while it waited for the answer"
    return "with a draft" if (layer / DRAFT).exists() else "before it wrote anything"


@pytest.fixture(scope="module")
def ready() -> Iterator[Ready]:
    with loaded() as found:
        yield found


@pytest.mark.parametrize("last", [False, True], ids=["leaves running", "last dump"])
@pytest.mark.parametrize("accident", ACCIDENTS)
def test_nothing_is_lost(
    accident: str, last: bool, ready: Ready, reaper: Reaper, layers: Layers, tmpfs: Path, tmp_path: Path, tally: Counter[str]
) -> None:
    pair = Pair(ready, Cells.launch(reaper, tmp_path / "victim"), layers, tmpfs, accident, random.Random(f"{accident} {last}"))
    program, pid = pair.program, pair.program.victim.pid
    for _ in range(2):  # the second one tells how long an increment takes
        program.move_on()
        pair.undisturbed()
    for _ in range(TIMES):
        program.move_on()
        kept = pair.memory(pair.whole)
        state = program.victim.ask()
        layer, there = pair.disturbed(last)
        ready.run("label", layers.path / str(pair.whole), "")  # the next command on that stack
        here, arrived = ((place / "inventory.img").exists() for place in (layer, there))
        tally[f"{accident}, {'a last dump' if last else 'a dump that leaves running'}"] += 1
        tally[f"… of these the layer was whole on both sides: {accident}"] += arrived
        if pair.stood:
            tally[f"… {accident} {pair.stood}"] += 1
        assert here == arrived, (accident, here, arrived)
        if arrived:
            report = ready.run("verify", there, "--json").json["layers"][0]
            assert report["state"] == "memory only", report
            pair.memory(int(layer.name))
            pair.whole, pair.full = int(layer.name), False
        else:
            pair.full = True
            assert os.listdir(layer) == [], os.listdir(layer)
            ready.run("label", tmpfs / str(pair.whole), "")
            assert os.listdir(there) == [], os.listdir(there)
            assert pair.memory(pair.whole) == kept
        if not alive(pid):
            assert last and arrived, "the program is gone, and there is no layer"
            wait_gone(pid)
            copy_images(layer, there)
            ready.run("restore", "-D", there, "-d")
            assert program.victim.ask() == state
            ready.run("untrack", "-t", pid, ok=False)
        program.move_on()
    if FULL:
        pair.undisturbed()
