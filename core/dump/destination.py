"""Where the pages of a dump go: into files of the layer, or to a page server (`lamina.core.transfer.sender`).

The recipe of a dump asks a destination for one sink per task, gives it pages in the order in which they are found, and in the end says
which of them the layer owns and which it inherits. Everything else of a layer is written beside, whatever the destination.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dump.memory import Moved, PageStore, Space, WarmMemory
from lamina.core.events import CancelToken
from lamina.core.image.draft import LayerDraft
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import Sidecar


@dataclass(frozen=True)
class Shipment:
    """One dump, as its destination needs to know it.

    Attributes:
        draft: the layer that is being written.
        layer_id: its id; parent_id: that of its parent, "" for a full dump.
        keeps_running: the target goes on afterwards, so pages may come live and be rewritten; else it stands still until the commit.
        notice: tells the user a sentence.
        cancel: asks the dump to stop.
    """

    draft: LayerDraft
    layer_id: str
    parent_id: str
    keeps_running: bool
    notice: Callable[[str], None]
    cancel: CancelToken


class PageSink(Protocol):
    """The pages of one task, from the first live round to the end.

    Attributes:
        spooled: pages that were taken; some may be out of date once `add_residue` has newer ones.
        lost: pages whose last copy could not be read, so that zeros stand for them: gone from the target meanwhile.
    """

    spooled: PageRuns
    lost: PageRuns

    def add(self, runs: PageRuns, moved: Moved) -> None:
        """Copy *runs* from the target, instead of the older copy of a page if there is one. *moved(bytes)* as it goes."""

    def add_residue(self, runs: PageRuns, moved: Moved) -> None:
        """As `add`, inside a freeze that somebody waits for."""

    def deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        """The layer has the pages *own* of what was taken, and leaves *inherited* to its parent: put them and the map in place."""


class Destination(Protocol):
    """Where the pages of one dump go.

    Attributes:
        where: the page server, as "10.0.0.2:9999"; "" for the layer itself.
    """

    @property
    def where(self) -> str: ...  # noqa: D102  # above

    def room(self, pages: int) -> int:
        """Bytes that a layer of so many own pages takes where it is written."""

    def open(self, shipment: Shipment) -> None:
        """Before anything of the target is touched: be ready, or refuse."""

    def sink(self, space: Space, pages_id: int, warm: WarmMemory) -> PageSink:
        """Where the pages of *space* go, the *pages_id*-th that has any. *warm* is shared by the tasks of the dump."""

    def commit(self, sidecar: Sidecar) -> None:
        """All pages were delivered and all images written: make it a layer."""

    def close(self) -> None:
        """The dump is over, well or not. Never raises."""


class LocalPages(Destination):
    """Pages files in the layer itself."""

    where = ""

    def __init__(self) -> None:
        self._shipment: Shipment | None = None

    @property
    def _draft(self) -> LayerDraft:
        if self._shipment is None:
            raise RuntimeError("a destination must be opened first")
        return self._shipment.draft

    @override
    def room(self, pages: int) -> int:
        return pages * PAGE

    @override
    def open(self, shipment: Shipment) -> None:
        self._shipment = shipment

    @override
    def sink(self, space: Space, pages_id: int, warm: WarmMemory) -> "FilePages":
        return FilePages(space, pages_id, self._draft, warm)

    @override
    def commit(self, sidecar: Sidecar) -> None:
        self._draft.commit(sidecar)

    @override
    def close(self) -> None:
        ...


class FilePages(PageStore, PageSink):
    """The pages of one task in a pages file of the layer."""

    def __init__(self, space: Space, pages_id: int, draft: LayerDraft, warm: WarmMemory) -> None:
        self._space = space
        self._pages_id = pages_id
        self._draft = draft
        self._opened = False
        super().__init__(space.pid, self._open_pages, warm)

    def _open_pages(self) -> int:
        """The pages file; an empty one in its place when asked again."""
        again, self._opened = self._opened, True
        return self._draft.replace_pages(self._pages_id) if again else self._draft.open_pages(self._pages_id)

    @override
    def deliver(self, own: PageRuns, inherited: PageRuns, moved: Moved) -> None:
        self.finish(own, moved)
        base = self._space.base
        self._draft.put_pagemap(self._space.which, PageMap.of(self._pages_id, own.shifted(-base), inherited.shifted(-base)))
