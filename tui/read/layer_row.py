"""One layer as a row of the list, read from its files; called in worker threads."""

import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ImageError
from lamina.tui.model.layers import LayerRow

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer
    from lamina.core.image.stack import Key


def stamp_of(layer: "Layer", known: "dict[Key, int] | None" = None) -> int:
    """A number that changes with any file of *layer* or of an ancestor. *known* has those of other layers, and is filled in."""
    stamps = {} if known is None else known
    below: list[Layer] = []
    at: Layer | None = layer
    stamp = 0
    while at is not None and (stamp := stamps.get(at.key, 0)) == 0 and at not in below:
        below.append(at)
        try:
            at = at.parent()
        except ImageError:
            at = None
    for member in reversed(below):
        stamp = stamps[member.key] = hash((_files_of(member), stamp))
    return stamp


def _files_of(layer: "Layer") -> int:
    if not layer.storage.writable:
        return hash(layer.key)
    found = []
    try:
        with os.scandir(layer.directory) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                found.append((entry.name, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
    except OSError:
        return 0
    return hash((layer.key, *sorted(found)))


def name_in(stack: Path, layer: "Layer") -> str:
    """Its name; for a layer in another directory with that directory."""
    from lamina.core.image.leftovers import TRASH
    from lamina.core.rewrite.trash import name_of

    if layer.name.startswith(TRASH):
        return name_of(layer)
    if not layer.storage.writable:
        return name_in_archive(layer)
    if layer.path.parent == stack:
        return layer.name
    return os.path.relpath(layer.directory, stack.resolve())


def name_in_archive(layer: "Layer") -> str:
    """The name that a layer in an archive had, and gets from `lamina import`; in the archive it may be another."""
    from lamina.core.archive.manifest import default_name, names_in
    from lamina.core.image.storage.archive import ArchiveStorage

    storage = layer.storage
    if not isinstance(storage, ArchiveStorage):
        return layer.name
    try:
        return names_in(storage.archive).get(storage.layer) or default_name(storage)
    except ImageError:
        return layer.name


def shortened(finding: str) -> str:
    """What a check found, for a narrow column, without the place and the advice, which the detail shows."""
    punched = re.search(r"punched by (another tool|\S+)", finding)
    return punched.group() if punched else re.sub(r"^cannot use layer [^:]+: ", "", finding).partition(" (")[0]


def unreadable_row(path: Path, why: str) -> LayerRow:
    """The row of a layer that the stack cannot use, with the reason, and with what can be read of it nevertheless."""
    from lamina.core.image.layer import Layer
    from lamina.core.image.leftovers import TRASH

    trashed = path.name.startswith(TRASH)
    name = path.name.removeprefix(TRASH)
    row = LayerRow(path, name, None)
    with suppress(ImageError, OSError):
        # Only its ancestors cannot be read; the layer itself can.
        layer = Layer(path)
        row = replace(read_row(layer), name=name, unlinked=not _has_parent(layer))
    return replace(row, restorable=False, whole=False, why=shortened(why), finding=why, trashed=trashed)


def _has_parent(layer: "Layer") -> bool:
    """Whether its own `parent` link leads to a layer; those of its ancestors may be broken."""
    try:
        return layer.parent() is not None
    except ImageError:
        return False


def read_row(layer: "Layer") -> LayerRow:
    """The row of *layer*, without its place in the graph.

    Raises:
        ImageError: it is damaged.
    """
    from lamina.core.attach.procfs import PAGE
    from lamina.core.image.leftovers import TRASH
    from lamina.core.image.summary import summary_of

    _ = layer.inventory  # a damaged layer must not be taken for a pre-dump
    summary, sidecar = summary_of(layer), layer.sidecar
    pids = layer.pids
    kernel = " ".join(sidecar.kernel.split()[:2]).partition("-")[0] if sidecar else ""
    row = LayerRow(
        path=layer.path,
        name=summary.name,
        parent=None,
        pid=pids[0] if pids else 0,
        program=_program(layer, pids),
        layer_id=summary.layer_id,
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
        tracker=summary.tracker if sidecar and sidecar.made_by != "criu" else "",
        kernel=kernel,
        foreign=sidecar is None or sidecar.made_by == "criu",
        shell_job=layer.has("tty-info.img"),
        trashed=layer.name.startswith(TRASH),
        compressed=layer.compressed,
        archived=not layer.storage.writable,
    )
    if layer.is_pre_dump:
        pass  # whole, and not restorable by itself
    elif not row.restorable:
        row = replace(row, whole=False)
    elif row.archived:
        row = replace(row, restorable=False, why="it is in an archive: I imports it")
    elif row.compressed:
        row = replace(row, restorable=False, why="its pages are compressed: K expands them")
    if sidecar is None:
        return row
    return replace(
        row, pinned=sidecar.pinned, pin_reason=sidecar.pin_reason, squashed=len(sidecar.squashed),
        dropped=sidecar.dropped if row.trashed else 0.0,
    )  # fmt: skip


def time_of(layer: "Layer") -> float:
    """When it was taken, seconds since the epoch; 0 if that is not recorded."""
    from lamina.core.image.summary import taken_at

    with suppress(ImageError):
        return taken_at(layer)
    return 0.0


def _program(layer: "Layer", pids: tuple[int, ...]) -> str:
    """What the root of its tree calls itself; "" if it holds no task."""
    if not pids or layer.is_pre_dump:
        return ""
    with suppress(ImageError):
        return os.fsdecode(layer.core(pids[0]).tc.comm)
    return ""
