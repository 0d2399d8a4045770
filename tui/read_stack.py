"""Reads a stack for the screen, called in worker threads: its layers as rows, newest first, with their lanes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.tui import lanes, places
from lamina.tui.widgets.memory_strip import StripView

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer


@dataclass(frozen=True)
class LayerRow:
    """One layer as a row.

    Attributes:
        path, name: its directory.
        parent: the layer its `parent` link names, or None.
        lane: its piece of the graph.
        pid: the root of the tree in it; 0 if unknown.
        label: a name for people, or "".
        time: seconds since the epoch; 0 if unknown.
        frozen_us, elapsed_us: how long the target was frozen and the dump took, µs; 0 if unknown.
        own_pages, inherited_pages: pages whose content is here, pages the parent has.
        disk_bytes, logical_bytes: blocks on disk, memory described.
        restorable: it can be put back; else `why` not.
        tracker, kernel: what it was made with.
        shell_job: it belongs to a terminal outside the tree.
    """

    path: Path
    name: str
    parent: Path | None
    lane: str = ""
    pid: int = 0
    label: str = ""
    time: float = 0.0
    frozen_us: int = 0
    elapsed_us: int = 0
    own_pages: int = 0
    inherited_pages: int = 0
    disk_bytes: int = 0
    logical_bytes: int = 0
    restorable: bool = True
    why: str = ""
    tracker: str = ""
    kernel: str = ""
    shell_job: bool = False


@dataclass(frozen=True)
class StackView:
    """A stack at one moment.

    Attributes:
        path: its directory.
        rows: its layers, newest first, children before parents.
        disk_bytes, logical_bytes: of all layers.
        free: bytes left on its file system.
        broken: (directory, why) of what looks like a layer and cannot be read.
    """

    path: Path
    rows: tuple[LayerRow, ...] = ()
    disk_bytes: int = 0
    logical_bytes: int = 0
    free: int = 0
    broken: tuple[tuple[str, str], ...] = ()


class StackReader:
    """Reads stacks; keeps what it parsed of layers that did not change."""

    def read(self, path: Path) -> StackView:
        """The layers under *path*; an empty view if there is no such directory yet."""
        if not path.is_dir():
            return StackView(path, free=places.free_bytes(path))
        return StackView(path, free=places.free_bytes(path))

    def read_strip(self, row: LayerRow, cells: int) -> StripView:
        """The memory as of *row* in *cells* cells a line."""
        return StripView(row.name, ())
