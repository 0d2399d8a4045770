"""The sending side: a dump whose pages go to a page server, lamina's or criu's (`dump --page-server`).

CLOSE is the receiver's commit. Before it all other images are in place and on the disk; after its answer inventory.img is renamed.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from lamina.core.dump.destination import Destination, PageSink, Shipment
from lamina.core.dump.memory import Space, WarmMemory
from lamina.core.errors import RefusedError, Unanswered
from lamina.core.image.leftovers import settle_unconfirmed, sweep
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.unconfirmed import Unconfirmed, unconfirmed_in
from lamina.core.transfer import wire
from lamina.core.transfer.connection import OPEN_TO_ALL
from lamina.core.transfer.conversation import Conversation, Server
from lamina.core.transfer.page_sinks import FrozenSink, LiveSink, Sink, WaitingSink
from lamina.core.transfer.page_stream import Stream


class PageServerPages(Destination):
    """A `lamina.core.dump.destination.Destination`: the pages go to a page server, their maps stay."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._stream: Stream | None = None
        self._shipment: Shipment | None = None
        self._sinks: list[Sink] = []
        self._heeding: Any = None

    @property
    @override
    def where(self) -> str:
        return str(self.server.address)

    @override
    def room(self, pages: int) -> int:
        return 0

    @override
    def open(self, shipment: Shipment) -> None:
        if not self.server.tls and not self.server.address.is_loopback:
            shipment.notice(f"{self.server.address}: {OPEN_TO_ALL}")
        talk = Conversation(self.server)
        self._shipment, self._stream = shipment, Stream(talk)
        self._heeding = talk.connection.heeding(shipment.cancel)
        self._heeding.__enter__()
        if talk.lamina:
            talk.announce(shipment.layer_id, shipment.parent_id)
        elif shipment.keeps_running:
            where = shipment.draft.path
            shipment.notice(f"{self.server.address} takes pages in order only: what is copied live waits in {where} until then")

    @override
    def sink(self, space: Space, pages_id: int, warm: WarmMemory) -> PageSink:
        if space.base:
            why = "shared anonymous memory cannot be sent to a page server yet"
            raise RefusedError("cannot send", str(space.which), why, "leave out --page-server")
        if self._shipment is None or self._stream is None:
            raise RuntimeError("a destination must be opened first")
        kind = FrozenSink if not self._shipment.keeps_running else LiveSink if self._stream.talk.lamina else WaitingSink
        self._sinks.append(kind(space.pid, pages_id, self._stream, self._shipment.draft, warm))
        return self._sinks[-1]

    @override
    def commit(self, sidecar: Sidecar) -> None:
        if self._shipment is None or self._stream is None:
            raise RuntimeError("a destination must be opened first")
        talk, draft = self._stream.talk, self._shipment.draft
        where = Unconfirmed(str(self.server.address), f"{wire.token(sidecar.layer_id):016x}", talk.home.boot, talk.home.path)
        try:
            draft.commit(replace(sidecar, pages_at=str(self.server.address)), where, talk.close)
        except Unanswered:
            # On one machine its directory tells at once.
            sweep(draft.path)
            if not (draft.path / "inventory.img").exists():
                raise

    @override
    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        if self._stream:
            self._stream.talk.connection.close()
        if self._heeding:
            self._heeding.__exit__(None, None, None)


def settle(directory: Path, server: Server) -> None:
    """Before a dump into *directory*: ask the page server about layers of its stack that were sent and not answered for.

    Raises:
        LaminaError: the stack is held, or the page server cannot be asked.
    """
    stack = stack_of(directory)
    with locked(stack):
        waiting = []
        for path in (Path(entry.path) for entry in os.scandir(stack) if entry.is_dir(follow_symlinks=False)):
            sweep(path)
            if sent := unconfirmed_in(path):
                waiting.append((path, sent))
        if not waiting:
            return
        talk = Conversation(server)
        try:
            for path, sent in waiting if talk.lamina else ():
                settle_unconfirmed(path, talk.ask(sent.token))
        finally:
            talk.connection.close()
