"""Who needs which bytes of which pages file: what dedup asks before it frees any.

Counted by file and offset, not by layer and address: a pages file can have several names (hard links), and a set made by hand can give
two maps one file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import sweep_beside
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.stack import Stack

LayerKey = tuple[object, ...]
FileKey = tuple[int, int]  # st_dev, st_ino
NONE = PageRuns.empty()


def file_key(layer: Layer, name: str) -> FileKey:
    """What tells a file of a layer from every other, whatever its names.

    Raises:
        ImageError: it is missing.
    """
    try:
        info = os.lstat(layer.file(name))
    except OSError as error:
        raise ImageError("cannot read image", str(layer.file(name)), "missing") from error
    return info.st_dev, info.st_ino


@contextmanager
def hold_stacks(layers: Iterable[Layer], own_held: bool = False) -> Iterator[None]:
    """Hold every stack that the chains of *layers* pass through, swept of what a dead lamina left.

    *own_held*: the caller holds the ones that the layers themselves are in.

    Raises:
        BusyError: another process writes to one of them.
    """
    listed = list(layers)
    own = {stack_of(layer.directory) for layer in listed}
    with ExitStack() as held:
        for stack in sorted({stack_of(member.directory) for layer in listed for member in layer.chain() if member.place.writable}):
            if stack not in own or not own_held:
                held.enter_context(locked(stack))
        for layer in {stack_of(layer.directory): layer for layer in listed}.values():
            sweep_beside(layer.directory)
        yield


@dataclass
class Family:
    """The layers among which a layer lives: those of every stack directory that its chain passes through, dropped ones too.

    Each is one object, so that its maps are decoded once. The chain's own order is `chain`, the layer itself first.
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
        for directory in dict.fromkeys(stack_of(member.directory) for member in family.chain):
            stack = Stack.open(directory)
            if stack.unreadable:
                bad = stack.unreadable[0]
                why = f"what {bad.path.name} needs of it is not known: {bad.why}"
                raise ImageError(what, f"layer {layer.path}", why, f"repair or remove {bad.path}")
            for member in (*stack.layers, *stack.trashed):
                family.layers.setdefault(member.key, member)
        return family

    def parent_of(self, layer: Layer) -> Layer | None:
        """Its parent, as the one object of the family."""
        if layer.key not in self._parents:
            above = layer.parent()
            self._parents[layer.key] = self.layers.setdefault(above.key, above) if above else None
        return self._parents[layer.key]

    def chain_of(self, layer: Layer) -> tuple[Layer, ...]:
        """`Layer.chain` in objects of the family. Circles were refused when the stacks were read."""
        found = [layer]
        while (above := self.parent_of(found[-1])) is not None:
            found.append(above)
        return tuple(found)

    def names_of(self, wanted: Iterable[FileKey]) -> dict[FileKey, list[tuple[Layer, str]]]:
        """Every name that a pages file of *wanted* has in the family."""
        names: dict[FileKey, list[tuple[Layer, str]]] = {key: [] for key in wanted}
        for layer in self.layers.values():
            if not layer.place.writable or layer.compressed:
                continue
            for name in layer.names():
                if name.startswith("pages-") and (found := names.get(file_key(layer, name))) is not None:
                    found.append((layer, name))
        return names


def resolved_by(chain: tuple[Layer, ...]) -> dict[FileKey, PageRuns]:
    """Where the pages that `chain[0]` resolves lie: offsets by pages file. Files in archives are left out, for nothing changes there."""
    needed: dict[FileKey, PageRuns] = {}
    for which in chain[0].objects:
        for share in owners.resolve(chain, which).shares:
            if share.layer.place.writable and not share.layer.compressed:
                _add(needed, share.layer, share.pages_file.name, PageRuns.from_arrays(share.offsets, share.offsets + share.runs.sizes))
    return needed


def owned_by(layer: Layer, name: str) -> PageRuns:
    """The bytes of its pages file *name* that a layer's own maps claim."""
    claimed = NONE
    for which in layer.objects:
        if layer.pages_name(which) == name:
            claimed |= PageRuns.of([(0, layer.pagemap(which).data_bytes)])
    return claimed


def _add(needed: dict[FileKey, PageRuns], layer: Layer, name: str, ranges: PageRuns) -> None:
    key = file_key(layer, name)
    needed[key] = needed.get(key, NONE) | ranges


def needed_by_others(
    family: Family, names: dict[FileKey, list[tuple[Layer, str]]], pinned: Iterable[Layer] = ()
) -> dict[FileKey, PageRuns]:
    """What must stay of the files in *names* when the ancestors of `family.chain[0]` may lose pages.

    That is what the layer itself resolves, what every layer off the chain does, what the *pinned* ancestors do, and what a layer that does
    descend from it holds under another name of the same file.
    """
    layer = family.chain[0]
    ancestors = {member.key for member in family.chain[1:]}
    needed: dict[FileKey, PageRuns] = {}
    for other in family.layers.values():
        if other.key in ancestors:
            continue
        above = family.chain_of(other)
        descends = other is not layer and any(member.key == layer.key for member in above)
        if not descends and any(member.key in ancestors for member in above):
            _merge(needed, resolved_by(above))
    for member in pinned:
        _merge(needed, resolved_by(family.chain_of(member)))
    for key, places in names.items():
        for other, name in places:
            if other.key not in ancestors:
                needed[key] = needed.get(key, NONE) | owned_by(other, name)
    return needed


def _merge(into: dict[FileKey, PageRuns], more: dict[FileKey, PageRuns]) -> None:
    for key, ranges in more.items():
        into[key] = into.get(key, NONE) | ranges
