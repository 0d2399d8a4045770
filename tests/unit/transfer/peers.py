"""Small peers of a page server, written from the description of the wire (docs/page-server.md): what criu sends, frame by frame."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamina.core.errors import LaminaError
from lamina.core.events import CancelToken, Event, Notice
from lamina.core.transfer.received_layer import Received, ServerRequest
from lamina.core.transfer.receiver import PageServer

PAGE = 4096
OPEN, OPEN2, PARENT, ADD_F, GET, CLOSE = 3, 4, 5, 6, 7, 0x1023
LAYER, ASK, FORGET, HELLO = 0x4C01, 0x4C02, 0x4C03, 0x616D616C
IN_PARENT, LAZY, PRESENT = 1, 2, 4


def task(pid: int) -> int:
    return pid << 8 | 1


def frame(form: int, cmd: int, dst_id: int = 0, vaddr: int = 0, pages: int = 0) -> bytes:
    if form == 24:
        return struct.pack("<IIQQ", cmd, pages, vaddr, dst_id)
    return struct.pack("<I4xQQQ", cmd, pages, vaddr, dst_id)


def page(content: int) -> bytes:
    """A page that can be told from every other."""
    return struct.pack("<Q", content) * (PAGE // 8)


class Peer:
    """One connection, as criu's sender would have it."""

    def __init__(self, port: int, form: int) -> None:
        self.form = form
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)

    def say(self, cmd: int, dst_id: int = 0, vaddr: int = 0, pages: int = 0, data: bytes = b"") -> None:
        self.sock.sendall(frame(self.form, cmd, dst_id, vaddr, pages) + data)

    def add(self, dst_id: int, vaddr: int, contents: list[int], flags: int = PRESENT) -> None:
        self.say(ADD_F | flags << 16, dst_id, vaddr, len(contents), b"".join(page(it) for it in contents))

    def parent(self, dst_id: int, vaddr: int, pages: int) -> None:
        self.say(ADD_F | IN_PARENT << 16, dst_id, vaddr, pages)

    def open(self, dst_id: int) -> bool:
        self.say(OPEN2, dst_id)
        return bool(self.read(1)[0])

    def hello(self, layer: int = 1, parent: int = 0) -> None:
        """As a lamina."""
        self.say(PARENT, task(1), pages=HELLO)
        assert self.number() & ~1 == 0x6C610000
        self.say(LAYER, parent, layer)
        assert self.number() == 0
        self.read(struct.unpack("<I", self.read(4))[0])

    def number(self) -> int:
        return int(struct.unpack("<i", self.read(4))[0])

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def close(self) -> int:
        """CLOSE and its answer."""
        self.say(CLOSE)
        while (said := self.number()) == 1:
            pass
        return said

    def refused(self) -> str:
        """The words with which a lamina is refused."""
        while (said := self.number()) == 1:
            pass
        assert said == -1, said
        return self.read(struct.unpack("<I", self.read(4))[0]).decode()

    def gone(self) -> bool:
        """Whether the other side hangs up, without a word."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


@dataclass
class Running:
    """A page server in a thread of its own, and what became of it."""

    server: PageServer
    notices: list[str] = field(default_factory=list)
    outcome: list[Received | LaminaError] = field(default_factory=list)
    cancel: CancelToken = field(default_factory=CancelToken)
    thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self.server.address.port

    def peer(self, form: int = 32) -> Peer:
        return Peer(self.port, form)

    def end(self) -> Received:
        found = self._end()
        assert isinstance(found, Received), found
        return found

    def failed(self) -> str:
        """Why it did not receive a layer, as its one line."""
        found = self._end()
        assert isinstance(found, LaminaError), found
        line = str(found)
        assert "\n" not in line
        return line

    def _end(self) -> Received | LaminaError:
        assert self.thread is not None
        self.thread.join(20)
        assert not self.thread.is_alive(), "the page server does not end"
        return self.outcome[0]


@contextmanager
def running(images_dir: Path, **options: Any) -> Iterator[Running]:
    """A page server for *images_dir*, which is made."""
    images_dir.mkdir(parents=True, exist_ok=True)
    options = {"patience_s": 20.0, **options}
    with PageServer(ServerRequest(images_dir, **options)) as server:
        found = Running(server)

        def tell(event: Event) -> None:
            if isinstance(event, Notice):
                found.notices.append(event.text)

        def serve() -> None:
            try:
                found.outcome.append(server.serve(tell, found.cancel))
            except LaminaError as error:
                found.outcome.append(error)

        found.thread = threading.Thread(target=serve, daemon=True)
        found.thread.start()
        try:
            yield found
        finally:
            found.cancel.cancel()
            found.thread.join(20)
