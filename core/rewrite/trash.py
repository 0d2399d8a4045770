"""The trash of a stack: dropped layers, in the stack's directory under hidden names, until the trash is emptied.

A dropped layer is renamed within its directory, so its `parent` link stays right. Only dropped layers may be children of dropped layers.
When a layer is renamed, the links of its children are never broken: the new name is first a symbolic link to the old one, the children are
relinked through it, and then the two names are exchanged.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import REBUILT, TRASH, remove_rebuilt
from lamina.core.image.renames import exchange, relink, rename_new, sync_directory
from lamina.core.image.sidecar import Sidecar


def name_of(layer: Layer) -> str:
    """The name that a dropped layer had."""
    sidecar = layer.sidecar
    return sidecar.dropped_name if sidecar and sidecar.dropped_name else layer.name.removeprefix(TRASH)


def dropped_at(layer: Layer) -> float:
    """When it was dropped, seconds since 1970 (UTC); 0 if nothing says so."""
    sidecar = layer.sidecar
    return sidecar.dropped if sidecar else 0.0


def disk_bytes(layer: Layer) -> int:
    """The disk that a layer's files take."""
    infos = (layer.info(name) for name in layer.names())
    return sum(info.disk_bytes for info in infos if info is not None and info.is_file)


def move_to_trash(layer: Layer, followers: Iterable[Layer]) -> Path:
    """Drop *layer*, whose only children are *followers*; returns where it is now. The caller holds the writer's lock of the stack.

    Raises:
        ImageError: it cannot be renamed; everything is as before.
    """
    stack = layer.directory.parent
    trashed = _free_name(stack, layer.name)
    sidecar = layer.sidecar or Sidecar.for_foreign(layer.directory)
    replace(sidecar, dropped=time.time(), dropped_name=layer.name).store(layer.directory)
    _rename(layer.directory, trashed, followers, "cannot drop")
    return trashed


def take_back(layer: Layer, name: str, followers: Iterable[Layer]) -> Layer:
    """Bring a dropped layer back as *name*; the inverse of `move_to_trash`.

    Raises:
        ImageError: the name is taken, or it cannot be renamed; everything is as before.
    """
    trashed = layer.directory.parent / name
    _rename(layer.directory, trashed, followers, "cannot undo")
    back = Layer(trashed)
    if (sidecar := back.sidecar) is not None:
        replace(sidecar, dropped=0.0, dropped_name="").store(trashed)
    return back


def remove(layer: Layer) -> None:
    """Remove a layer without children for good. The first step makes it no layer, so nobody sees half of one.

    Raises:
        ImageError: it cannot be removed.
    """
    trashed = layer.directory.parent / f"{REBUILT}{layer.name}"
    try:
        if os.path.lexists(trashed):
            remove_rebuilt(trashed)
        rename_new(layer.directory, trashed)
        sync_directory(trashed.parent)
        remove_rebuilt(trashed)
    except OSError as error:
        raise ImageError("cannot remove", f"layer {layer.path}", os.strerror(error.errno or 0)) from error


def _free_name(stack: Path, name: str) -> Path:
    trashed, number = stack / f"{TRASH}{name}", 1
    while os.path.lexists(trashed) and not _points_to(trashed, name):
        number += 1
        trashed = stack / f"{TRASH}{name}~{number}"
    return trashed


def _points_to(link: Path, name: str) -> bool:
    return link.is_symlink() and os.readlink(link) == name


def _rename(old: Path, new: Path, followers: Iterable[Layer], what: str) -> None:
    try:
        below = list(followers)
        if not below:
            rename_new(old, new)
        else:
            if not _points_to(new, old.name):
                new.symlink_to(old.name)
                sync_directory(new.parent)
            for layer in below:
                relink(layer.directory, os.path.relpath(new, layer.directory))
            exchange(new, old)
            sync_directory(new.parent)
            old.unlink()
        sync_directory(new.parent)
    except OSError as error:
        why = f"{new.name} exists" if isinstance(error, FileExistsError) else os.strerror(error.errno or 0)
        raise ImageError(what, f"layer {old}", why) from error
