"""Which bytes of which pages files are still needed, and by which layers: asked by dedup before it frees any.

Counted by file and offset, not by layer and address: a pages file can have several names (hard links), and in a set made by hand two maps
can name one file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import sweep_whole_stack
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.owners import to_offsets
from lamina.core.image.stack import Stack
from lamina.core.rewrite.other_stacks import children_elsewhere

LayerKey = tuple[object, ...]
FileKey = tuple[int, int]  # st_dev, st_ino
NONE = PageRuns.empty()


def file_key(layer: Layer, name: str) -> FileKey:
    """Identifies a file of a layer, whatever its names.

    Raises:
        ImageError: it is missing.
    """
    try:
        info = os.lstat(layer.file(name))
    except OSError as error:
        if where := layer.pages_elsewhere:
            raise ImageError("cannot change", f"layer {layer.path}", f"its pages are at page server {where}", "do it there") from error
        raise ImageError("cannot read image", str(layer.file(name)), "missing") from error
    return info.st_dev, info.st_ino


@contextmanager
def hold_stacks(layers: Iterable[Layer], own_held: bool = False) -> Iterator[None]:
    """Lock every stack that the chains of *layers* pass through, and clean up what a killed lamina left there.

    *own_held*: the caller already holds the locks of the stacks that the layers themselves are in.

    Raises:
        BusyError: another process writes to one of them.
    """
    listed = list(layers)
    own = {stack_of(layer.directory) for layer in listed}
    with ExitStack() as held:
        for stack in sorted({stack_of(member.directory) for layer in listed for member in layer.chain() if member.storage.writable}):
            if stack not in own or not own_held:
                held.enter_context(locked(stack))
        for layer in {stack_of(layer.directory): layer for layer in listed}.values():
            sweep_whole_stack(layer.directory)
        yield


@dataclass
class Family:
    """All layers that may need pages of a layer's ancestors: those of every stack that its chain passes through, dropped ones too, and
    children of its ancestors in directories nearby.

    Each layer is one object, so its maps are decoded once. `chain` is the layer itself, then its ancestors.
    """

    chain: tuple[Layer, ...]
    layers: dict[LayerKey, Layer] = field(default_factory=dict)
    _parents: dict[LayerKey, Layer | None] = field(default_factory=dict)

    @classmethod
    def around(cls, layer: Layer, what: str) -> "Family":
        """The family of *layer*; *what* as in "cannot dedup".

        Raises:
            ImageError: a layer there cannot be read, so what it needs is not known; or the chain is broken.
        """
        family = cls(layer.chain())
        family.layers = {member.key: member for member in family.chain}
        family._parents = dict(zip((member.key for member in family.chain), (*family.chain[1:], None), strict=True))
        directories = list(dict.fromkeys(stack_of(member.directory) for member in family.chain))
        for directory in directories:
            family._take(Stack.open(directory), what)
        # A child of an ancestor in another directory needs its pages too; the child's own descendants need no more than that.
        known = {member.directory for member in family.layers.values()}
        above = {member.directory for member in family.chain[1:]}
        for below in [path for directory in directories for path, _ in children_elsewhere(directory, above) if path not in known]:
            family._take(Stack.of(below.parent, [below]), what)
        return family

    def _take(self, stack: Stack, what: str) -> None:
        if stack.unreadable:
            bad = stack.unreadable[0]
            why = f"what {bad.path.name} needs of it is not known: {bad.why}"
            raise ImageError(what, f"layer {self.chain[0].path}", why, f"repair or remove {bad.path}")
        for member in (*stack.layers, *stack.trashed):
            self.layers.setdefault(member.key, member)

    def parent_of(self, layer: Layer) -> Layer | None:
        """Its parent, as the one object of the family."""
        if layer.key not in self._parents:
            above = layer.parent()
            self._parents[layer.key] = self.layers.setdefault(above.key, above) if above else None
        return self._parents[layer.key]

    def youngest_first(self) -> list[Layer]:
        """Every layer before its parent. Circular parents were refused when the stacks were read."""
        depth: dict[LayerKey, int] = {}
        for layer in list(self.layers.values()):
            path: list[Layer] = []
            at: Layer | None = layer
            while at is not None and at.key not in depth:
                path.append(at)
                at = self.parent_of(at)
            base = depth[at.key] if at is not None else 0
            for above, member in enumerate(reversed(path), start=1):
                depth[member.key] = base + above
        return sorted(self.layers.values(), key=lambda layer: -depth[layer.key])

    def names_of(self, wanted: Iterable[FileKey]) -> dict[FileKey, list[tuple[Layer, str]]]:
        """Every name that a pages file of *wanted* has in the family."""
        names: dict[FileKey, list[tuple[Layer, str]]] = {key: [] for key in wanted}
        for layer in self.layers.values():
            if not layer.storage.writable or layer.compressed:
                continue
            for name in layer.names():
                if name.startswith("pages-") and (found := names.get(file_key(layer, name))) is not None:
                    found.append((layer, name))
        return names


def needed_by_others(
    family: Family, names: dict[FileKey, list[tuple[Layer, str]]], pinned: Iterable[Layer] = ()
) -> dict[FileKey, PageRuns]:
    """What must be kept of the files in *names* when the ancestors of `family.chain[0]` may lose pages.

    That is what is needed by the layer itself, by every layer outside the chain, by the *pinned* ancestors, and what a descendant holds
    under another name of the same file. One pass from the youngest layers to the full ones: each passes on to its parent what it inherits
    itself, and what its children need and it inherits.
    """
    losing = {member.key for member in family.chain[1:]} - {member.key for member in pinned}
    order = family.youngest_first()
    below = _descendants(family, order)
    files = {(other.key, name): key for key, named in names.items() for other, name in named}
    asked: dict[tuple[LayerKey, Object], PageRuns] = {}
    needed: dict[FileKey, PageRuns] = {}
    for other in order:
        above = family.parent_of(other)
        for which in other.objects:
            pagemap = other.pagemap(which)
            present = pagemap.present
            wanted = asked.get((other.key, which), NONE) if other.key in losing else present if other.key in below else pagemap.all
            key = files.get((other.key, other.pages_name(which)))
            if key is not None and (own := wanted & present):
                needed[key] = needed.get(key, NONE) | to_offsets(present, own)
            if above is not None and (inherited := wanted & pagemap.parent):
                asked[above.key, which] = asked.get((above.key, which), NONE) | inherited
    return needed


def _descendants(family: Family, youngest_first: list[Layer]) -> set[LayerKey]:
    """The descendants of `family.chain[0]`."""
    found: set[LayerKey] = set()
    for other in reversed(youngest_first):
        above = family.parent_of(other)
        if above is not None and (above.key == family.chain[0].key or above.key in found):
            found.add(other.key)
    return found
