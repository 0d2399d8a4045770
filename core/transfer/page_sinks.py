"""How the pages of one task go to a page server. It depends on who takes them and on whether the target waits.

* A last dump stands still until the commit: everything goes straight from its memory, in page order, as every page server wants it.
* A dump that leaves running, to a lamina: live rounds go out as they are copied, pages that were rewritten once more, the residue of the
  freeze from memory after the thaw. The receiver keeps the last copy of each.
* The same to a criu, which takes every page once and in order: what was copied live waits in a nameless file beside the layer until the
  freeze has shown what is true, and goes in page order after the thaw. The freeze stays as short; the file is announced.
"""

import os
from pathlib import Path

from typing_extensions import override

from lamina.core.attach.procfs import describe
from lamina.core.dirty.copy import copy_runs
from lamina.core.dirty.runs import PageRuns
from lamina.core.dump.destination import PageSink
from lamina.core.dump.memory import Moved, PageStore, Piece, Segment, WarmMemory, slots_of
from lamina.core.errors import ImageError, TargetError, TransferError
from lamina.core.ffi import C
from lamina.core.image.draft import LayerDraft
from lamina.core.image.layer import sent_map
from lamina.core.image.leftovers import cannot_write
from lamina.core.image.pagemap import PageMap
from lamina.core.transfer.page_stream import Columns, Stream


class Sink(PageSink):
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

    @override
    def add(self, runs: PageRuns, moved: Moved) -> None:
        raise NotImplementedError

    @override
    def add_residue(self, runs: PageRuns, moved: Moved) -> None:
        self.add(runs, moved)

    @override
    def deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
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


class FrozenSink(Sink):
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


class LiveSink(Sink):
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


class WaitingSink(Sink):
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
