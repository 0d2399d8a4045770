"""The layers under one directory, joined by their `parent` links: a tree, because an old layer can be restored and dumped from again."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.layer import Layer, Object


@dataclass(frozen=True)
class Unreadable:
    """A directory that holds an inventory but cannot be used; shown in the list beside the layers."""

    path: Path
    why: str


class Stack:
    """Every layer directly under one directory, and every ancestor their `parent` links name, wherever it is.

    Attributes:
        path: the directory.
        layers: those that can be opened, ancestors before descendants, else by time.
        unreadable: those that cannot, each with the reason.
    """

    def __init__(self, path: Path, layers: tuple[Layer, ...], unreadable: tuple[Unreadable, ...]) -> None:
        self.path = path
        self.layers = layers
        self.unreadable = unreadable
        self._by_key = {layer.key: layer for layer in layers}

    @classmethod
    def open(cls, directory: Path) -> "Stack":
        """Read the stack in *directory*. Symbolic links in it are not followed, but for `parent`.

        Raises:
            ImageError: no such directory, or it may not be read.
        """
        try:
            names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            raise ImageError("cannot read", f"stack {directory}", os.strerror(error.errno or 0)) from error
        return cls.of(directory, [directory / name for name in names])

    @classmethod
    def of(cls, directory: Path, candidates: list[Path]) -> "Stack":
        """The stack of the layers among *candidates* and their ancestors; *directory* is where it is said to be."""
        found: dict[tuple[object, ...], Layer] = {}
        depth: dict[tuple[object, ...], int] = {}
        unreadable: list[Unreadable] = []
        for path in candidates:
            if not os.path.lexists(path / "inventory.img"):
                continue
            try:
                chain = Layer(path).chain()
                _ = [layer.inventory for layer in chain]
            except ImageError as error:
                unreadable.append(Unreadable(path, str(error)))
                continue
            for above, layer in enumerate(reversed(chain)):
                if found.setdefault(layer.key, layer).path != layer.path and layer.path.parent == directory:
                    found[layer.key] = layer
                depth[layer.key] = above
        order = sorted(found.values(), key=lambda layer: (depth[layer.key], _time(layer), layer.name))
        return cls(directory, tuple(order), tuple(unreadable))

    def parent_of(self, layer: Layer) -> Layer | None:
        """Its parent, as the object in `layers`."""
        above = layer.parent()
        return self._by_key.get(above.key, above) if above else None

    @cached_property
    def _children(self) -> dict[tuple[object, ...], tuple[Layer, ...]]:
        table: dict[tuple[object, ...], tuple[Layer, ...]] = {}
        for layer in self.layers:
            if above := self.parent_of(layer):
                table[above.key] = (*table.get(above.key, ()), layer)
        return table

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
        found = found or [layer for layer in self.layers if layer.summary().label == word]
        if len(found) == 1:
            return found[0]
        names = ", ".join(layer.name for layer in found or self.layers)
        why = f"several layers have that label: {names}" if found else f"the stack holds {names or 'no layer'}"
        raise ImageError("no such layer", word, why)

    def owners(self, layer: Layer, which: Object) -> owners.OwnerMap:
        """Who owns each page of a task (its pid) or shared object ("shmem-ID") of *layer*."""
        return owners.resolve(layer.chain(), which)

    def covered(self, layer: Layer, which: Object) -> PageRuns:
        """What a child of *layer* may inherit: pages that resolve and are not punched."""
        return covered(layer, which)


def covered(layer: Layer, which: Object) -> PageRuns:
    """What a child of *layer* may inherit of a task (its pid) or shared object ("shmem-ID"): pages that resolve and are not punched."""
    return owners.covered(layer.chain(), which)


def _time(layer: Layer) -> float:
    try:
        sidecar, inventory = layer.sidecar, layer.info("inventory.img")
    except ImageError:
        return 0.0
    return sidecar.time if sidecar else inventory.mtime if inventory else 0.0
