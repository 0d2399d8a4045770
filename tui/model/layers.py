"""The layers of a stack as the screen lists them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.tui.model import lanes


@dataclass(frozen=True)
class Check:
    """The result of reading all bytes of a layer, and those that it needs of its ancestors.

    Attributes:
        time: when, seconds since the epoch.
        good: nothing is missing or damaged; else `why`.
        sums: its bytes were compared with checksums. A foreign layer has none, and can only be read.
    """

    time: float
    good: bool
    why: str = ""
    sums: bool = True


@dataclass(frozen=True)
class LayerRow:
    """One layer as a row.

    Attributes:
        path, name: its directory, or its place in an archive, and what it is called.
        parent: the layer its `parent` link names, or None; parent_time: when that was taken.
        lane: its piece of the graph.
        pid, program: the root of the tree in it and its name; 0 and "" if unknown.
        layer_id: "" for a layer without sidecar.
        label: a name for people, or "".
        time: seconds since the epoch; 0 if unknown.
        frozen_us, elapsed_us: how long the target was frozen and the dump took, µs; 0 if unknown.
        own_pages, inherited_pages: pages whose content is here, pages the parent has.
        disk_bytes: blocks its files occupy.
        memory_bytes: memory it describes, own and inherited.
        restorable: it can be restored as it is; else `why` not.
        finding: what a check found first, in its own words; `why` may be shorter.
        whole: nothing of it is missing or damaged: it is a pre-dump, compressed or in an archive if it is not restorable.
        tracker, kernel: what it was made with, "" if unknown; foreign: CRIU made it.
        shell_job: it belongs to a terminal outside the tree.
        pinned, pin_reason: it may not be dropped, and why.
        squashed: how many layers were squashed into it.
        dropped: when it went to the trash, seconds since the epoch; 0 of a layer that is in the stack.
        compressed: its pages are compressed; archived: it lies in an archive.
        unlinked: its `parent` link leads nowhere.
        checked: what the last full check of it in this session said, if nothing changed since.
        stamp: changes with any file of it or of its ancestors.
    """

    path: Path
    name: str
    parent: Path | None
    lane: str = ""
    pid: int = 0
    program: str = ""
    layer_id: str = ""
    label: str = ""
    time: float = 0.0
    parent_time: float = 0.0
    frozen_us: int = 0
    elapsed_us: int = 0
    own_pages: int = 0
    inherited_pages: int = 0
    disk_bytes: int = 0
    memory_bytes: int = 0
    restorable: bool = True
    why: str = ""
    finding: str = ""
    whole: bool = True
    tracker: str = ""
    kernel: str = ""
    foreign: bool = False
    shell_job: bool = False
    pinned: bool = False
    pin_reason: str = ""
    squashed: int = 0
    dropped: float = 0.0
    trashed: bool = False
    compressed: bool = False
    archived: bool = False
    unlinked: bool = False
    checked: Check | None = None
    stamp: int = 0


@dataclass(frozen=True)
class StackView:
    """A stack at one moment.

    Attributes:
        path: its directory, or an archive.
        rows: its layers, newest first, children before parents.
        trash: its dropped layers, the one dropped last first.
        disk_bytes: of all layers; trash_bytes: of the dropped ones.
        free: bytes left on its file system.
        archive: it is an archive, whose layers can be read and imported.
        why: why it cannot be read, in words; "" if it can.
    """

    path: Path
    rows: tuple[LayerRow, ...] = ()
    trash: tuple[LayerRow, ...] = ()
    disk_bytes: int = 0
    trash_bytes: int = 0
    free: int = 0
    archive: bool = False
    why: str = ""

    @property
    def listed(self) -> tuple[LayerRow, ...]:
        """All rows of the list: the trash at the bottom."""
        return self.rows + self.trash

    @property
    def logical_bytes(self) -> int:
        """What the layers would hold if each were full."""
        return sum(row.memory_bytes for row in self.rows)

    @property
    def newest(self) -> LayerRow | None:
        """The layer taken last."""
        return max(self.rows, key=lambda row: row.time, default=None)

    def row_at(self, path: Path | None) -> LayerRow | None:
        """The row of the layer at *path*."""
        return next((row for row in self.listed if row.path == path), None)

    def ancestors(self, row: LayerRow) -> list[LayerRow]:
        """The ancestors of *row* that are listed, the nearest first."""
        found: list[LayerRow] = []
        above = self.row_at(row.parent)
        while above is not None and above not in found:
            found.append(above)
            above = self.row_at(above.parent)
        return found

    def children(self, row: LayerRow) -> list[LayerRow]:
        """The layers of the stack whose parent is *row*."""
        return [it for it in self.rows if it.parent == row.path]

    def branch(self, row: LayerRow) -> list[LayerRow]:
        """The branch that *row* is on, the oldest first: its ancestors, itself, then always the newest child."""
        line = [*reversed(self.ancestors(row)), row]
        while below := [it for it in self.children(line[-1]) if it not in line]:
            line.append(max(below, key=lambda it: it.time))
        return line


def arrange(rows: Iterable[LayerRow]) -> list[LayerRow]:
    """The rows in the order of the list, each with its piece of the graph."""
    ordered = in_order(rows)
    drawn = lanes.draw_lanes([(row.path, row.parent) for row in ordered])
    return [replace(row, lane=lane) for row, lane in zip(ordered, drawn, strict=True)]


def in_order(rows: Iterable[LayerRow]) -> list[LayerRow]:
    """Newest first, but never a parent before its child, whatever their times say."""
    left = {row.path: row for row in rows}
    children = dict.fromkeys(left, 0)
    for row in left.values():
        if row.parent in children:
            children[row.parent] += 1
    ordered = []
    while left:
        free = [row for row in left.values() if not children[row.path]] or list(left.values())
        row = max(free, key=lambda row: (row.time, row.path))
        ordered.append(left.pop(row.path))
        if row.parent in children:
            children[row.parent] -= 1
    return ordered


def by_drop(rows: Iterable[LayerRow], lanes_width: int) -> list[LayerRow]:
    """Dropped layers, the one dropped last first. They are in no lane, but leave the *width* of the lanes empty."""
    ordered = sorted(rows, key=lambda row: (-row.dropped, row.name))
    return [replace(row, lane="○".ljust(lanes_width)) for row in ordered]
