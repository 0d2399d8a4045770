"""Reads a stack for the screen, called in worker threads: its layers as rows, newest first, with their lanes."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.core.errors import LaminaError
from lamina.tui import places
from lamina.tui.model import lanes


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
        disk_bytes: blocks its files occupy.
        memory_bytes: memory it describes, own and inherited.
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
    memory_bytes: int = 0
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
        disk_bytes: of all layers.
        free: bytes left on its file system.
    """

    path: Path
    rows: tuple[LayerRow, ...] = ()
    disk_bytes: int = 0
    free: int = 0


class StackReader:
    """Reads stacks; keeps what it read of layers that did not change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Path, tuple[object, LayerRow]] = {}

    def read(self, path: Path) -> StackView:
        """The layers under *path*; none if there is no such directory yet.

        Raises:
            OSError: it cannot be listed.
        """
        rows = []
        for entry in sorted(path.iterdir()) if path.is_dir() else ():
            try:
                if (entry / "inventory.img").exists():
                    rows.append(self._row(entry))
            except (LaminaError, OSError) as error:
                rows.append(LayerRow(entry, entry.name, None, restorable=False, why=str(error)))
        ordered = in_order(rows)
        drawn = lanes.draw_lanes([(row.path, row.parent) for row in ordered])
        rows = [replace(row, lane=lane) for row, lane in zip(ordered, drawn, strict=True)]
        return StackView(path, tuple(rows), sum(row.disk_bytes for row in rows), places.free_bytes(path))

    def _row(self, path: Path) -> LayerRow:
        sidecar = path / "lamina.json"
        stamp = ((path / "inventory.img").stat().st_mtime_ns, sidecar.stat().st_mtime_ns if sidecar.exists() else 0)
        with self._lock:
            kept = self._kept.get(path)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        row = _read_row(path)
        with self._lock:
            self._kept[path] = (stamp, row)
        return row


def in_order(rows: Iterable[LayerRow]) -> list[LayerRow]:
    """Newest first, but never a parent before its child, whatever the clocks said."""
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


def _read_row(path: Path) -> LayerRow:
    from lamina.core.attach.procfs import PAGE
    from lamina.core.image.layer import Layer
    from lamina.core.image.summary import summary_of

    layer = Layer(path)
    _ = layer.inventory  # a damaged one must not pass for a pre-dump
    summary, sidecar = summary_of(layer), layer.sidecar
    pids = layer.pids
    return LayerRow(
        path=path,
        name=summary.name,
        parent=(path / summary.parent).resolve() if summary.parent else None,
        pid=pids[0] if pids else 0,
        label=summary.label,
        time=summary.time,
        frozen_us=summary.freeze_us,
        elapsed_us=sidecar.dump_us if sidecar else 0,
        own_pages=summary.own_pages,
        inherited_pages=summary.inherited_pages,
        disk_bytes=summary.disk_bytes,
        memory_bytes=(summary.own_pages + summary.inherited_pages) * PAGE,
        restorable=summary.restorable,
        why=summary.why_not,
        tracker=summary.tracker,
        kernel=" ".join(sidecar.kernel.split()[:2]).partition("-")[0] if sidecar else "",
        shell_job=layer.has("tty-info.img"),
    )
