"""The sending side: pages of a dump to a page server, lamina's or criu's (`dump --page-server`).

How pages go depends on who takes them and on whether the target waits:

* A last dump stands still until the commit: everything goes straight from its memory, in page order, as every page server wants it.
* A dump that leaves running, to a lamina: live rounds go out as they are copied, pages that were rewritten once more, the residue of the
  freeze from memory after the thaw. The receiver keeps the last copy of each.
* The same to a criu, which takes every page once and in order: what was copied live waits in a nameless file beside the layer until the
  freeze has shown what is true, and goes in page order after the thaw. A freeze is as short as ever; the file is said.

CLOSE is the receiver's commit. Before it all other images are in place and on the disk; after its answer inventory.img is renamed.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.core.attach.procfs import describe
from lamina.core.dirty.copy import WarmBuffer, copy_runs
from lamina.core.dirty.runs import Addresses, PageRuns
from lamina.core.dump.destination import PageSink, Shipment
from lamina.core.dump.memory import Moved, PageStore, Piece, Segment, WarmMemory, slots_of
from lamina.core.errors import ImageError, NativeError, TargetError, TransferError, Unanswered
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.awaiting import Awaiting, awaited_in
from lamina.core.image.draft import LayerDraft
from lamina.core.image.layer import Object, sent_map
from lamina.core.image.leftovers import cannot_write, settle_awaited, sweep
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import Sidecar
from lamina.core.transfer import wire
from lamina.core.transfer.connection import OPEN_TO_ALL, PATIENCE_S, Address, Connection, connect
from lamina.core.transfer.tls import Tls
from lamina.core.transfer.wire import Answer, Command, Frame, Home

_STEP = 16 << 20
_BUFFER = 256 << 10
_KINDS = np.uint8


@dataclass(frozen=True)
class Server:
    """A page server, as the command line names it.

    Attributes:
        address: where it listens.
        wire: bytes of a frame: 24 for criu up to 4.1.1, 32 for criu 4.2; a lamina takes both.
        tls: how the connection is secured, or None.
        patience_s: how long it may be silent, seconds.
    """

    address: Address
    wire: int = C.LM_FRAME_32
    tls: Tls | None = None
    patience_s: float = PATIENCE_S


# -- the talk ------------------------------------------------------------------------------------------------------------------------


class Talk:
    """A connection to a page server, and what it said of itself.

    Attributes:
        lamina: it is one, so pages may go in any order.
        home: where it keeps the layer; empty fields if it did not say.
    """

    def __init__(self, server: Server) -> None:
        """Raises:
        TransferError: nobody is there, or does not answer.
        """
        self.server = server
        self.home = Home("", "")
        tls = replace(server.tls, server_name=server.address.host) if server.tls else None
        cut = wire.Records(server.wire)
        self.connection = Connection(connect(server.address, server.patience_s), server.patience_s, tls, cut=cut)
        try:
            # Any object will do: the question is who answers.
            self.send(Command.PARENT, wire.HELLO, 0, wire.object_id(1))
            said = self._answer()
        except TransferError as error:
            self.connection.close()
            other = " ".join(str(form) for form in wire.FORMS if form != server.wire)
            if error.what == "refused by":
                raise
            fix = f"it may be serving another dump; a criu may want --wire {other}"
            raise replace(error, fix=fix) from error
        self.lamina = said & ~1 == wire.GREETED

    def send(self, command: Command, pages: int = 0, vaddr: int = 0, dst_id: int = 0) -> None:
        """One frame."""
        try:
            self.connection.send(Frame(command, pages, vaddr, dst_id).encode(self.server.wire))
        except TransferError as error:
            raise self.last_words() or error from error

    def _answer(self) -> int:
        value = wire.read_answer(self.connection.receive(4))
        if value == Answer.REFUSED:
            raise self._refused()
        return value

    def _refused(self) -> TransferError:
        try:
            text = self.connection.receive(wire.words_length(self.connection.receive(4))).decode(errors="replace")
        except TransferError:
            text = "it refused without a reason"
        return TransferError("refused by", f"page server {self.server.address}", text)

    def last_words(self) -> TransferError | None:
        """Why a lamina ended the connection, if it said so."""
        with suppress(TransferError):
            if self.connection.pending() and wire.read_answer(self.connection.receive(4)) == Answer.REFUSED:
                return self._refused()
        return None

    def heard(self) -> None:
        """Nothing is to be heard while pages go out.

        Raises:
            TransferError: it refuses, or has gone.
        """
        if self.connection.pending():
            raise self.last_words() or self.connection.failed(0)

    def ask(self, token: str) -> bool:
        """Whether it has the whole layer that goes by *token*."""
        self.send(Command.ASK, vaddr=int(token, 16))
        return self._answer() == 1

    def announce(self, layer_id: str, parent_id: str) -> None:
        """Say which layer comes, and on which it stands."""
        self.send(Command.LAYER, 0, wire.token(layer_id), wire.token(parent_id))
        if self._answer() != Answer.DONE:
            raise TransferError("cannot use", f"page server {self.server.address}", "a wrong answer came")
        text = self.connection.receive(wire.words_length(self.connection.receive(4)))
        self.home = Home.decode(text.decode(errors="replace"))

    def open(self, which: Object) -> bool:
        """Begin an object; returns whether the receiver's parent has it."""
        self.send(Command.OPEN2, dst_id=wire.object_id(which))
        return bool(self.connection.receive(1)[0])

    def close(self) -> None:
        """Let the receiver commit, and wait until it has.

        Raises:
            TransferError: it refused: there is no layer there.
            Unanswered: the connection was lost before it said anything.
        """
        self.send(Command.CLOSE)
        try:
            while (said := self._answer()) == Answer.BUSY:
                pass
        except TransferError as error:
            if error.what == "refused by":
                raise
            fix = "the next command on this stack finds out, and finishes or removes what is here"
            raise Unanswered(error.what, error.obj, f"{error.why} before it said whether the layer is whole there", fix) from error
        if said != Answer.DONE:
            raise TransferError("cannot use", f"page server {self.server.address}", f"it answered {said} to the end of the dump")


# -- the destination -----------------------------------------------------------------------------------------------------------------


class PageServerPages:
    """A `lamina.core.dump.destination.Destination`: the pages go to a page server, their maps stay."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._stream: Stream | None = None
        self._shipment: Shipment | None = None
        self._sinks: list[Sink] = []
        self._heeding: Any = None

    @property
    def where(self) -> str:
        """See `Destination`."""
        return str(self.server.address)

    def room(self, pages: int) -> int:
        """See `Destination`."""
        return 0

    def open(self, shipment: Shipment) -> None:
        """See `Destination`."""
        if not self.server.tls and not self.server.address.is_loopback:
            shipment.notice(f"{self.server.address}: {OPEN_TO_ALL}")
        talk = Talk(self.server)
        self._shipment, self._stream = shipment, Stream(talk)
        self._heeding = talk.connection.heeding(shipment.cancel)
        self._heeding.__enter__()
        if talk.lamina:
            talk.announce(shipment.layer_id, shipment.parent_id)
        elif shipment.keeps_running:
            where = shipment.draft.path
            shipment.notice(f"{self.server.address} takes pages in order only: what is copied live waits in {where} until then")

    def sink(self, pid: int, pages_id: int, warm: WarmMemory) -> PageSink:
        """See `Destination`."""
        if self._shipment is None or self._stream is None:
            raise RuntimeError("a destination must be opened first")
        kind = Straight if not self._shipment.keeps_running else Live if self._stream.talk.lamina else Waiting
        self._sinks.append(kind(pid, pages_id, self._stream, self._shipment.draft, warm))
        return self._sinks[-1]

    def commit(self, sidecar: Sidecar) -> None:
        """See `Destination`."""
        if self._shipment is None or self._stream is None:
            raise RuntimeError("a destination must be opened first")
        talk, draft = self._stream.talk, self._shipment.draft
        where = Awaiting(str(self.server.address), f"{wire.token(sidecar.layer_id):016x}", talk.home.boot, talk.home.path)
        try:
            draft.commit(replace(sidecar, pages_at=str(self.server.address)), where, talk.close)
        except Unanswered:
            # On one machine its directory tells at once.
            sweep(draft.path)
            if not (draft.path / "inventory.img").exists():
                raise

    def close(self) -> None:
        """See `Destination`."""
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
            if sent := awaited_in(path):
                waiting.append((path, sent))
        if not waiting:
            return
        talk = Talk(server)
        try:
            for path, sent in waiting if talk.lamina else ():
                settle_awaited(path, talk.ask(sent.token))
        finally:
            talk.connection.close()


# -- how pages go out ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """Runs on their way: addresses, where they lie (in a file or memory), and what they come from (C.LM_SEND_*)."""

    starts: Addresses
    ends: Addresses
    offsets: Addresses
    kinds: NDArray[np.uint8]

    @classmethod
    def of(cls, runs: PageRuns, kind: int) -> "Columns":
        """Runs of one kind that lie nowhere but in the target."""
        return cls(runs.starts, runs.ends, np.zeros(len(runs), dtype=np.uint64), np.full(len(runs), kind, dtype=_KINDS))

    @classmethod
    def of_pieces(cls, pieces: list[Piece]) -> "Columns":
        """Pieces of a spool and of the residue."""
        table = np.array([(it.address, it.address + it.size, it.offset) for it in pieces], dtype=np.uint64).reshape(-1, 3)
        kinds = np.array([C.LM_SEND_MEMORY if it.in_memory else C.LM_SEND_FILE for it in pieces], dtype=_KINDS)
        return cls(table[:, 0], table[:, 1], table[:, 2], kinds)

    def merged(self, other: "Columns") -> "Columns":
        """Both, by address."""
        columns = [np.concatenate(pair) for pair in zip(self._all, other._all, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return Columns(*(column[order] for column in columns))

    @property
    def _all(self) -> tuple[NDArray[Any], ...]:
        return self.starts, self.ends, self.offsets, self.kinds

    def steps(self, size: int) -> Iterator["Columns"]:
        """The same in parts of about *size* bytes; a long run is cut."""
        sizes = self.ends - self.starts
        parts = np.maximum((sizes + np.uint64(size - 1)) // np.uint64(size), 1).astype(np.int64)
        if (parts > 1).any():
            which = np.repeat(np.arange(parts.size), parts)
            number = np.arange(int(parts.sum())) - np.repeat(np.cumsum(parts) - parts, parts)
            skip = number.astype(np.uint64) * np.uint64(size)
            starts = self.starts[which] + skip
            cut = Columns(starts, np.minimum(starts + np.uint64(size), self.ends[which]), self.offsets[which] + skip, self.kinds[which])
        else:
            cut = self
        total = np.cumsum(cut.ends - cut.starts, dtype=np.uint64)
        at = 0
        while at < total.size:
            before = int(total[at - 1]) if at else 0
            end = max(int(np.searchsorted(total, np.uint64(before + size), side="right")), at + 1)
            yield Columns(*(column[at:end] for column in cut._all))
            at = end


class Stream:
    """Sends runs of pages through C."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._buffer = WarmBuffer(_BUFFER)

    def send(self, which: Object, columns: Columns, moved: Moved, pid: int = 0, fd: int = -1, memory: WarmBuffer | None = None) -> PageRuns:
        """*columns* of the object *which*, from the process, file or memory. Returns pages of the process that could not be read.

        Raises:
            TransferError: the receiver went away, fell silent or refused.
            TargetError: the process is gone.
        """
        lost = PageRuns.empty()
        mem = _memory_of(pid) if pid else -1
        try:
            for part in columns.steps(_STEP):
                self.talk.heard()
                lost |= self._send(which, part, pid, mem, fd, memory)
                data = part.kinds <= C.LM_SEND_MEMORY
                moved(int((part.ends[data] - part.starts[data]).sum(dtype=np.uint64)))
        finally:
            if mem >= 0:
                os.close(mem)
        return lost

    def _send(self, which: Object, part: Columns, pid: int, mem: int, fd: int, memory: WarmBuffer | None) -> PageRuns:
        source = ffi.new("lm_send_source *", {"pid": pid, "mem": mem, "fd": fd, "buffer": self._buffer.pointer, "size": self._buffer.size})
        source.base = memory.pointer if memory else ffi.NULL
        lost, err = ffi.gc(ffi.new("lm_array *"), C.lm_array_free), new_error()
        columns = [ffi.from_buffer("uint64_t[]", np.ascontiguousarray(it)) for it in (part.starts, part.ends, part.offsets)]
        kinds = ffi.from_buffer("uint8_t[]", np.ascontiguousarray(part.kinds))
        connection = self.talk.connection
        try:
            check(
                C.lm_pagesend(
                    connection.fileno(), self.talk.server.wire, wire.object_id(which), *columns, kinds, part.starts.size, source, lost, err
                ),
                err,
            )
        except NativeError as error:
            if error.where == "sendmsg":
                raise self.talk.last_words() or connection.failed(error.errnum) from error
            if error.where == "process_vm_readv":
                raise TargetError("cannot copy memory of", describe(pid), error.detail or error.reason) from error
            raise
        if not lost.count:
            return PageRuns.empty()
        raw = np.frombuffer(ffi.buffer(lost.regions, lost.count * 24), dtype=np.uint64).reshape(-1, 3)
        return PageRuns.from_arrays(raw[:, 0], raw[:, 1])


def _memory_of(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


class Sink:
    """The pages of one task on their way to a page server: what all ways have in common.

    Attributes: as `PageSink`.
    """

    def __init__(self, pid: int, pages_id: int, stream: Stream, draft: LayerDraft, warm: WarmMemory) -> None:
        self.pid = pid
        self.spooled = PageRuns.empty()
        self.lost = PageRuns.empty()
        self._pages_id = pages_id
        self._stream = stream
        self._draft = draft
        self._warm = warm

    def add(self, runs: PageRuns, moved: Moved) -> None:
        """See `PageSink`."""
        raise NotImplementedError

    def add_residue(self, runs: PageRuns, moved: Moved) -> None:
        """See `PageSink`."""
        self.add(runs, moved)

    def deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        """See `PageSink`."""
        if own & self.lost:
            raise TargetError("cannot copy memory of", describe(self.pid), f"{(own & self.lost).pages} pages cannot be read")
        self._deliver(own, inherited, moved)
        pagemap = PageMap.of(self._pages_id, own, inherited)
        self._draft.put_aside(Path(sent_map(self.pid)).name, pagemap.encode())

    def _deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """The dump is over."""

    def _open(self, inherited: PageRuns) -> None:
        """Begin this task at the receiver."""
        if not self._stream.talk.open(self.pid) and inherited:
            server = self._stream.talk.server.address
            why = f"it has no parent for task {self.pid}, and {inherited.pages} pages are inherited"
            raise TransferError("cannot use", f"page server {server}", why, "start it with --prev-images-dir, or make a full dump")

    def _require(self, own: PageRuns, have: PageRuns) -> None:
        if missing := own - have:
            raise ImageError("cannot send", f"the pages of task {self.pid}", f"{missing.bytes} bytes were not copied")


class Straight(Sink):
    """From a target that stands still until the commit, in page order."""

    def add(self, runs: PageRuns, moved: Moved) -> None:
        """Remember them: they do not change any more."""
        self.spooled |= runs

    def _deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        self._require(own, self.spooled)
        self._open(inherited)
        columns = Columns.of(own, C.LM_SEND_PROCESS).merged(Columns.of(inherited, C.LM_SEND_INHERITED))
        if lost := self._stream.send(self.pid, columns, moved, self.pid):
            raise TargetError("cannot copy memory of", describe(self.pid), f"{lost.pages} pages cannot be read")


class Live(Sink):
    """To a lamina, as they are found: it keeps the last copy of each page."""

    def __init__(self, pid: int, pages_id: int, stream: Stream, draft: LayerDraft, warm: WarmMemory) -> None:
        super().__init__(pid, pages_id, stream, draft, warm)
        self._residue: list[Segment] = []
        self._has_parent = stream.talk.open(pid)

    def add(self, runs: PageRuns, moved: Moved) -> None:
        """Copy and send them."""
        lost = self._stream.send(self.pid, Columns.of(runs, C.LM_SEND_PROCESS), moved, self.pid)
        self.lost = (self.lost - runs) | lost
        self.spooled |= runs

    def add_residue(self, runs: PageRuns, moved: Moved) -> None:
        """Copy them to warm memory if there is room, to be sent after the thaw."""
        at = self._warm.take(runs.bytes)
        if at is None:
            self.add(runs, moved)
            return
        self.lost = (self.lost - runs) | copy_runs(self.pid, runs, self._warm.residue, at)
        self._residue.append(Segment(runs, at))
        moved(runs.bytes)

    def _deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        have = self.spooled
        for segment in self._residue:
            pieces = [Piece(address, size, offset, True) for address, size, offset in slots_of(segment, segment.runs & own)]
            self._stream.send(self.pid, Columns.of_pieces(pieces), moved, memory=self._warm.residue)
            have |= segment.runs & own
        self._require(own, have)
        if inherited and not self._has_parent:
            raise TransferError("cannot use", f"page server {self._stream.talk.server.address}", f"it has no parent for task {self.pid}")
        for runs, kind in ((have - own, C.LM_SEND_FORGOTTEN), (inherited, C.LM_SEND_INHERITED)):
            self._stream.send(self.pid, Columns.of(runs, kind), moved)


class Waiting(Sink):
    """To a criu: what is copied live waits in a file without a name, until it can go in page order."""

    def __init__(self, pid: int, pages_id: int, stream: Stream, draft: LayerDraft, warm: WarmMemory) -> None:
        super().__init__(pid, pages_id, stream, draft, warm)
        self._file = -1
        self._store = PageStore(pid, self._open_file, warm)

    def _open_file(self) -> int:
        try:
            self._file = os.open(self._draft.path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_write(self._draft.path, error.errno or 0) from error
        return self._file

    def add(self, runs: PageRuns, moved: Moved) -> None:
        """Copy them to the file."""
        self._store.add(runs, moved)
        self.spooled, self.lost = self._store.spooled, self._store.lost

    def add_residue(self, runs: PageRuns, moved: Moved) -> None:
        """Copy them to warm memory if there is room, else to the file."""
        self._store.add_residue(runs, moved)
        self.spooled, self.lost = self._store.spooled, self._store.lost

    def _deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        pieces = self._store.pieces(own)
        self._require(own, PageRuns.of((it.address, it.address + it.size) for it in pieces))
        self._open(inherited)
        columns = Columns.of_pieces(pieces).merged(Columns.of(inherited, C.LM_SEND_INHERITED))
        self._stream.send(self.pid, columns, moved, fd=self._file, memory=self._warm.residue)
        self.close()

    def close(self) -> None:
        """Give the room back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
