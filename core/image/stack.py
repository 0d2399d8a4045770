"""A stack: the layers in one directory, joined by `parent` links. It is a tree, because any layer can be restored and dumped again."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.layer import MAX_DEPTH, Layer, Object
from lamina.core.image.leftovers import DRAFT, TRASH
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.storage.locate import layers_in
from lamina.core.image.unconfirmed import unconfirmed_in

Key = tuple[object, ...]


@dataclass(frozen=True)
class Unreadable:
    """A directory that holds images but cannot be used; shown in the list beside the layers."""

    path: Path
    why: str


class Stack:
    """Every layer directly in one directory, and all their ancestors, wherever those are.

    Each layer is one object, which `Layer.parent` and `Layer.chain` of its descendants return too, so its maps are decoded once.

    Attributes:
        path: the directory.
        layers: those that can be opened, ancestors before descendants, else by time.
        unreadable: those that cannot, each with the reason; dropped ones among them.
        trashed: dropped layers that can be brought back; not in `layers`.
    """

    def __init__(self, path: Path, layers: tuple[Layer, ...], unreadable: tuple[Unreadable, ...], trashed: tuple[Layer, ...] = ()) -> None:
        self.path = path
        self.layers = layers
        self.unreadable = unreadable
        self.trashed = trashed
        self._by_key = {layer.key: layer for layer in (*trashed, *layers)}

    @classmethod
    def open(cls, directory: Path) -> "Stack":
        """Read the stack in *directory*, or the layers of an archive. Symbolic links in it are not followed, but for `parent`.

        Raises:
            ImageError: no such directory or archive, or it may not be read.
        """
        if directory.is_file():
            return cls.of(directory, layers_in(directory))
        try:
            names = sorted((entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)), key=_natural)
        except OSError as error:
            raise ImageError("cannot read", f"stack {directory}", os.strerror(error.errno or 0)) from error
        # Other hidden directories are half of something: a layer that is being rewritten, or its leftovers.
        return cls.of(directory, [directory / name for name in names if not name.startswith(".") or name.startswith(TRASH)])

    @classmethod
    def of(cls, directory: Path, candidates: Iterable[Path]) -> "Stack":
        """The stack of the layers among *candidates* and their ancestors; *directory* is used in messages."""
        opener = _Opener()
        dropped: dict[Key, Layer] = {}
        unreadable: list[Unreadable] = []
        # All are opened before any link is followed, so that an ancestor is known by the path it has here.
        for path, layer in [(path, opener.open(path)) for path in candidates]:
            if isinstance(layer, str):
                unreadable.extend([Unreadable(path, layer)] if layer else [])
            elif why := opener.follow(layer):
                unreadable.append(Unreadable(path, why))
            elif path.name.startswith(TRASH):
                dropped[layer.key] = layer
        found = {key: opener.layers[key] for key in opener.depth if key not in dropped}
        order = sorted(found.values(), key=lambda layer: (opener.depth[layer.key], _time(layer), _natural(layer.name)))
        return cls(directory, tuple(order), tuple(unreadable), tuple(dropped.values()))

    def parent_of(self, layer: Layer) -> Layer | None:
        """Its parent, as the object in `layers`."""
        above = layer.parent()
        return self._by_key.get(above.key, above) if above else None

    @cached_property
    def _children(self) -> dict[Key, tuple[Layer, ...]]:
        table: dict[Key, list[Layer]] = {}
        for layer in self.layers:
            if above := self.parent_of(layer):
                table.setdefault(above.key, []).append(layer)
        return {key: tuple(below) for key, below in table.items()}

    def children(self, layer: Layer) -> tuple[Layer, ...]:
        """The layers whose parent is *layer*."""
        return self._children.get(layer.key, ())

    @property
    def roots(self) -> tuple[Layer, ...]:
        """The layers without a parent."""
        return tuple(layer for layer in self.layers if layer.parent_link is None)

    def find(self, word: str) -> Layer:
        """The layer whose directory has the name *word*, or else whose label is *word*.

        Raises:
            ImageError: none has, several have that label, or the one that has cannot be read.
        """
        for path in self.unreadable:
            if path.path.name == word:
                raise ImageError("cannot use layer", str(path.path), path.why)
        found = [layer for layer in self.layers if layer.name == word]
        found = found or [layer for layer in self.layers if _label(layer) == word]
        if len(found) == 1:
            return found[0]
        names = ", ".join(layer.name for layer in found or self.layers)
        why = f"several layers have that label: {names}" if found else f"the stack holds {names or 'no layer'}"
        raise ImageError("no such layer", word, why)

    def owners(self, layer: Layer, which: Object) -> owners.OwnerMap:
        """Who owns each page of a task (its pid) or shared object ("shmem-ID") of *layer*."""
        return owners.resolve(layer.chain(), which)

    def covered(self, layer: Layer, which: Object) -> PageRuns:
        """What a child of *layer* may inherit: pages that have an owner and are not punched."""
        return covered(layer, which)


def covered(layer: Layer, which: Object) -> PageRuns:
    """What a child of *layer* may inherit of a task (its pid) or shared object ("shmem-ID"): pages with an owner that are not punched."""
    return owners.covered(layer.chain(), which)


class _Opener:
    """Opens layers and follows their links, each once."""

    def __init__(self) -> None:
        self.layers: dict[Key, Layer] = {}
        self.depth: dict[Key, int] = {}  # ancestors of each layer whose chain is whole
        self._broken: dict[Key, str] = {}

    def open(self, path: Path) -> Layer | str:
        """The layer in a directory, or why it is none; "" if it does not look like one at all."""
        try:
            if path.is_dir() and not os.path.lexists(path / "inventory.img"):
                names = os.listdir(path)
                if sent := unconfirmed_in(path):
                    return sent.why
                if DRAFT in names or not any(name.endswith(".img") or name == SIDECAR for name in names):
                    return ""
            layer = Layer(path)
            _ = layer.inventory
        except ImageError as error:
            return str(error)
        except OSError as error:
            return f"cannot be read: {os.strerror(error.errno or 0)}"
        return self.layers.setdefault(layer.key, layer)

    def follow(self, layer: Layer) -> str:
        """Follow its links up to a layer that is open already. Returns why that fails, or ""."""
        path = [layer]
        why = ""
        while not (why := self._broken.get(path[-1].key, "")) and path[-1].key not in self.depth:
            try:
                above = path[-1].parent()
                if above is None:
                    break
                above = self.layers.setdefault(above.key, above)
                _ = above.inventory
            except ImageError as error:
                why = str(error)
                break
            path[-1].adopt(above)
            if any(above is below for below in path):
                why = f"cannot use layer {path[-1].path}: its parents form a circle at {above.name}"
                break
            if len(path) > MAX_DEPTH:
                why = f"cannot use layer {layer.path}: it has more than {MAX_DEPTH} ancestors"
                break
            path.append(above)
        base = self.depth.get(path[-1].key, 0)
        for below, member in enumerate(reversed(path)):
            if why:
                self._broken[member.key] = why
            else:
                self.depth[member.key] = base + below
        return why


def _natural(name: str) -> list[tuple[int, str]]:
    """An order in which 10 comes behind 9."""
    return [(int(part), "") if part.isdecimal() and part.isascii() else (0, part) for part in re.split(r"([0-9]+)", name)]


def _label(layer: Layer) -> str:
    try:
        sidecar = layer.sidecar
    except ImageError:
        return ""
    return sidecar.label if sidecar else ""


def _time(layer: Layer) -> float:
    try:
        sidecar, inventory = layer.sidecar, layer.info("inventory.img")
    except ImageError:
        return 0.0
    return sidecar.time if sidecar else inventory.mtime if inventory else 0.0
