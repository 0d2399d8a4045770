"""What a dump says to page servers of others: one that takes pages as criu does, and some that do not behave."""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lamina.core.image.layer import Layer
from tests.live.harness import Layers, Reaper, Victim, lamina, need, start_c
from tests.live.page_servers import page_server
from tests.unit.transfer.peers import ADD_F, CLOSE, IN_PARENT, OPEN2, PAGE, PARENT, PRESENT

HEADS = {24: struct.Struct("<IIQQ"), 32: struct.Struct("<I4xQQQ")}


class Criu:
    """A page server that does what criu's does: each page once, in order; what is inherited must be in the parent."""

    def __init__(self, form: int, parent: dict[int, bytes] | None = None) -> None:
        self.form, self.parent = form, parent
        self.pages: dict[int, bytes] = {}
        self.inherited: set[int] = set()
        self.wrong = ""
        self.closed = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(EOFError, OSError):
            sock = self._listening.accept()[0]
            last = 0
            while not self.wrong and not self.closed:
                head = HEADS[self.form].unpack(self._read(sock, self.form))
                cmd, count, vaddr, dst = (head[0], head[1], head[2], head[3])
                if cmd == PARENT:
                    sock.sendall(struct.pack("<i", self.parent is not None))
                elif cmd == OPEN2:
                    last = 0
                    sock.sendall(bytes([self.parent is not None]))
                elif cmd & 0xFFFF == ADD_F:
                    self._run(sock, cmd >> 16, count, vaddr, last)
                    last = vaddr + count * PAGE
                elif cmd == CLOSE:
                    self.closed = True
                    sock.sendall(struct.pack("<i", 0))
                else:
                    self.wrong = f"command {cmd:#x} for {dst:#x}"
            sock.close()

    def _run(self, sock: socket.socket, flags: int, count: int, vaddr: int, last: int) -> None:
        if vaddr < last or not count:
            self.wrong = f"{count} pages at {vaddr:#x} behind {last:#x}"
        for at in range(vaddr, vaddr + count * PAGE, PAGE):
            if flags == PRESENT:
                self.pages[at] = self._read(sock, PAGE)
            elif flags == IN_PARENT and self.parent is not None and at in self.parent:
                self.inherited.add(at)
            else:
                self.wrong = f"flags {flags} at {at:#x}"

    @staticmethod
    def _read(sock: socket.socket, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    @property
    def memory(self) -> dict[int, bytes]:
        return {at: (self.parent or {})[at] for at in self.inherited} | self.pages

    def end(self) -> None:
        self._thread.join(20)
        self._listening.close()
        assert not self.wrong and self.closed, self.wrong


def is_in(victim: Victim, memory: dict[int, bytes]) -> None:
    """The victim stands still between questions: what was sent of its cells is what it has."""
    with open(f"/proc/{victim.pid}/mem", "rb", buffering=0) as now:
        low = max(memory, key=lambda at: at)  # only of what nobody writes while it waits: the cells, which are the largest run
        runs: list[list[int]] = []
        for at in sorted(memory):
            if runs and runs[-1][-1] + PAGE == at:
                runs[-1].append(at)
            else:
                runs.append([at])
        cells = max(runs, key=len)
        assert low and len(cells) >= 1024
        now.seek(cells[0])
        data = now.read(len(cells) * PAGE)
    different = [at for n, at in enumerate(cells) if data[n * PAGE : (n + 1) * PAGE] != memory[at]]
    assert len(different) <= 2, f"{len(different)} pages are not what the program has"  # its heap and control block lie beside the cells


@pytest.mark.parametrize("form", [24, 32])
def test_a_dump_to_one_that_takes_pages_as_criu_does(form: int, reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 12)  # more than what is worth a live round
    parent: dict[int, bytes] | None = None
    for number in range(3):
        if number:
            victim.ask(f"write 300 {number}")
        server, layer = Criu(form, parent), layers.new()
        on = ["--prev-images-dir", f"../{int(layer.name) - 1}"] if number else []
        keep = ["-R", "--track-mem"] if number < 2 else []
        words = ["--page-server", "--port", server.port, "--wire", form]
        ran = lamina("dump", "-t", victim.pid, "-D", layer, *keep, *on, *words)
        server.end()
        found = Layer(layer).pagemap(victim.pid)
        assert {at for start, end in found.present for at in range(start, end, PAGE)} == set(server.pages)
        assert {at for start, end in found.parent for at in range(start, end, PAGE)} == server.inherited
        assert ("waits in" in ran.err) == bool(keep)
        if keep:
            is_in(victim, server.memory)
        assert bool(server.inherited) == bool(number), ran.said
        assert sorted(os.listdir(layer / "lamina")) == [f"sent-{victim.pid}.img"]
        parent = server.memory
    assert not list(layers.path.rglob("pages-*"))


@contextmanager
def misbehaving(act: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server that does *act* with whoever calls, and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client = listening.accept()[0]
                with suppress(OSError):
                    act(client)
                client.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.close()


def silent(client: socket.socket) -> None:
    while client.recv(1 << 16):
        pass


def hangs_up(client: socket.socket) -> None:
    client.recv(32)


def hangs_up_later(client: socket.socket) -> None:
    client.recv(32)
    client.sendall(struct.pack("<i", 0))
    client.recv(32)
    client.sendall(b"\0")
    client.recv(1 << 16)


def no_parent_after_all(client: socket.socket) -> None:
    for reply in (struct.pack("<i", 0), b"\0"):
        client.recv(32)
        client.sendall(reply)
    silent(client)


def endless_words(client: socket.socket) -> None:
    client.recv(32)
    client.sendall(struct.pack("<iI", -1, 1 << 31) + b"x" * 100)
    silent(client)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (silent, "silent for 1 s (it may be serving another dump; a criu may want --wire 24"),
        (hangs_up, "closed the connection (it may be serving another dump; a criu may want --wire 24"),
        (hangs_up_later, "closed the connection"),
        (endless_words, "without a reason"),
    ],
)
def test_servers_that_do_not_behave(
    act: Callable[[socket.socket], object], words: str, reaper: Reaper, layers: Layers, tmp_path: Path
) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    layer = layers.new()
    with misbehaving(act) as port:
        ran = lamina("dump", "-t", victim.pid, "-D", layer, "--page-server", "--port", port, "--timeout", "1s", ok=False)
    assert ran.status == 1 and words in ran.err and "Traceback" not in ran.err, ran.said
    assert os.listdir(layer) == []
    assert victim.ask()["wrong"] == 0


def test_options_that_do_not_fit(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    layer = layers.new()
    dump = ("dump", "-t", victim.pid, "-D", layer, "-R")
    for options, status, words in (
        (["--page-server"], 2, "which port"),
        (["--port", 5], 2, "--port means nothing without --page-server"),
        (["--tls"], 2, "--tls means nothing without --page-server"),
        (["--page-server", "--port", 5, "--tls-cert", "x"], 2, "--tls-cert means nothing without --tls"),
        (["--page-server", "--port", 70000], 2, "not a port"),
        (["--page-server", "--port", 1], 1, "nobody listens there"),
        (["--page-server", "--port", 1, "--address", "no.such.host.invalid"], 1, "cannot reach"),
        (["--page-server", "--port", 1, "--tls", "--tls-cert", tmp_path / "none"], 1, ""),
    ):
        ran = lamina(*dump, *options, ok=False)
        assert (ran.status, words in ran.err, "Traceback" in ran.err) == (status, True, False), ran.said
        assert len(ran.err.strip().splitlines()) == 1 or status == 1, ran.said
        assert os.listdir(layer) == []
    for options, words in (
        (["-D", tmp_path / "none"], "no such directory"),
        (["-D", layer, "--prev-images-dir", "../none"], "cannot use as parent"),
        (["-D", layer, "--address", "203.0.113.1"], "cannot listen at 203.0.113.1"),
        (["-D", layer, "--tls", "--tls-cert", tmp_path / "none"], "cannot use TLS"),
        (["-D", layer, "--status-fd", 77], "descriptor 77"),
    ):
        ran = lamina("page-server", *options, ok=False)
        assert ran.status in (1, 2) and words in ran.err and len(ran.err.strip().splitlines()) == 1, ran.said


# -- TLS -----------------------------------------------------------------------------------------------------------------------------


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *(str(word) for word in words)], check=True, capture_output=True)


def certificates(place: Path) -> None:
    """An authority, and a certificate each for the two sides; and one of another authority."""
    need("openssl")
    place.mkdir()
    for name in ("ca", "other"):
        openssl(
            "req", "-x509", *NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", place / f"{name}.key", "-out", place / f"{name}.pem"
        )  # fmt: skip
    for name, ca in (("receiver", "ca"), ("sender", "ca"), ("stranger", "other")):
        openssl(
            "req", *NEW_KEY, "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", place / f"{name}.key", "-out", place / f"{name}.csr",
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", place / f"{name}.csr", "-CA", place / f"{ca}.pem", "-CAkey", place / f"{ca}.key", "-days", "2",
            "-copy_extensions", "copyall", "-out", place / f"{name}.pem",
        )  # fmt: skip


def tls(place: Path, name: str, authority: str = "ca") -> list[object]:
    files = {"cert": f"{name}.pem", "key": f"{name}.key", "cacert": f"{authority}.pem"}
    return ["--tls", *(word for key, file in files.items() for word in (f"--tls-{key}", place / file))]


def test_tls_both_ways(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 12)
    keys, received = tmp_path / "keys", tmp_path / "R"
    certificates(keys)
    for number in (1, 2):
        victim.ask(f"write 200 {number}")
        on = ["--prev-images-dir", "../1"] if number == 2 else []
        with page_server(received / str(number), *on, *tls(keys, "receiver")) as server:
            where = ["--page-server", "--port", server.port, *tls(keys, "sender")]
            lamina("dump", "-t", victim.pid, "-D", layers.new(), "-R", "--track-mem", *on, *where)
            assert server.end().json["pages"] > 200
    report = lamina("verify", received, "--json").json["layers"]
    assert [(it["state"], it["why"]) for it in report] == [("memory only", "the sender's images are not here yet")] * 2
    assert {row["why_not"] for row in lamina("stack", received, "--json").json["layers"]} == {"the sender's images are not here yet"}
    refused = lamina("restore", "-D", received / "2", ok=False)
    assert "memory only: the sender's images are not here yet" in refused.err, refused.said


def test_tls_with_somebody_else(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 1)
    keys = tmp_path / "keys"
    certificates(keys)
    layer = layers.new()
    dump = ("dump", "-t", victim.pid, "-D", layer, "-R", "--timeout", "2s")
    with page_server(tmp_path / "R/1", "--timeout", "2s", *tls(keys, "receiver")) as server:
        for options, words in (
            ([], "closed the connection"),  # in the clear
            (tls(keys, "sender", "other"), "its certificate is refused"),
            (tls(keys, "stranger"), ""),
            ([*tls(keys, "sender"), "--address", "localhost"], "its certificate is refused"),
        ):
            ran = lamina(*dump, *server.sending, *options, ok=False)
            assert ran.status == 1 and words in ran.err and "Traceback" not in ran.err, ran.said
            assert os.listdir(layer) == []
        lamina(*dump, *server.sending, *tls(keys, "sender"), "--tls-no-cn-verify")
        ran = server.end()
        assert ran.err.count("still waiting for a sender") >= 3, ran.said
