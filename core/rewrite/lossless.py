"""Lossless dedup: pages that are equal in a layer and its parent become inherited. Every layer stays as restorable as it was.

Nothing is punched. The layer is rewritten with fewer pages of its own (`one_layer`). Where the file system can share blocks, all other
equal pages of the stack share theirs (`sharing`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import Cancelled, ImageError, NativeError
from lamina.core.events import CancelToken, Listener, Meter, Notice, ignore
from lamina.core.image import owners
from lamina.core.image.holes import holes_of
from lamina.core.image.layer import Layer, Object
from lamina.core.image.punched import freed_in
from lamina.core.image.stack import Stack
from lamina.core.image.storage.content import Content
from lamina.core.rewrite.checksums import NONE
from lamina.core.rewrite.copying import Pieces
from lamina.core.rewrite.needed_pages import hold_stacks
from lamina.core.rewrite.one_layer import rewrite
from lamina.core.rewrite.reflink import why_not_shared
from lamina.core.rewrite.sharing import Equal, find_equal, make_shared, pages_files

WHAT = "cannot dedup"
_CHUNK = 1 << 20
_AHEAD = 64  # pieces


@dataclass(frozen=True)
class Thinned:
    """What a layer has in common with its parent.

    Attributes:
        layer: the layer.
        own_pages: pages in its pages files now.
        equal: by task or shared object, its pages whose content the direct parent has at the same address.
        pages: how many those are.
        bytes_freed: their blocks.
    """

    layer: Layer
    own_pages: int
    equal: Mapping[Object, PageRuns]
    pages: int
    bytes_freed: int


@dataclass(frozen=True)
class LosslessPlan:
    """What a lossless dedup would do, or did.

    Attributes:
        stack: the directory of the stack.
        layers: every layer looked at.
        skipped: layers that cannot be rewritten, each with the reason.
        pages: pages that become inherited.
        bytes_freed: their blocks.
        equal: other pages that are equal to a page of the stack; None if blocks cannot be shared here, so nothing was compared.
        why_not: why equal pages cannot share blocks here, or "".
        shared_bytes: bytes that were made to share blocks; 0 in a dry run.
    """

    stack: Path
    layers: tuple[Thinned, ...]
    skipped: tuple[tuple[Layer, str], ...]
    pages: int
    bytes_freed: int
    equal: Equal | None = field(repr=False)
    why_not: str
    shared_bytes: int = 0


def plan_lossless(
    directory: Path, layers: Sequence[Path] | None = None, listen: Listener = ignore, cancel: CancelToken | None = None
) -> LosslessPlan:
    """What `apply_lossless` would do. Reads every page of the stack, changes nothing.

    Raises:
        ImageError: a pages file cannot be read; or a layer that was named cannot be rewritten.
        Cancelled: as asked.
    """
    token = cancel or CancelToken()
    stack = Stack.open(directory)
    thinned: list[Thinned] = []
    skipped: list[tuple[Layer, str]] = []
    chosen = _chosen(stack, layers)
    for layer in chosen:
        try:
            thinned.append(thin(layer, listen, token))
        except ImageError as error:
            if layers is not None:
                raise
            skipped.append((layer, str(error)))
    going = {
        (it.layer.key, it.layer.pages_name(which)): _offsets(it.layer, which, runs) for it in thinned for which, runs in it.equal.items()
    }
    equal = find_equal(pages_files((*stack.layers, *stack.trashed), going), None if layers is None else chosen, listen, token)
    return _summed(directory, thinned, skipped, equal, why_not_shared(directory))


def _chosen(stack: Stack, layers: Sequence[Path] | None) -> list[Layer]:
    """The layers of *stack* that are meant, ancestors first. Raises `ImageError` if one of them cannot be read."""
    if layers is None:
        return list(stack.layers)
    meant = [Layer(path) for path in layers]
    for layer in meant:
        layer.chain()
    keys = {layer.key for layer in meant}
    return [it for it in (*stack.layers, *stack.trashed) if it.key in keys]


def apply_lossless(
    directory: Path, layers: Sequence[Path] | None = None, listen: Listener = ignore, cancel: CancelToken | None = None
) -> LosslessPlan:
    """Do it for the layers in *layers* (all of the stack in *directory* if None).

    Each layer is replaced by its smaller version in one step, descendants before ancestors. A crash or a cancel between two steps leaves
    every layer as restorable as before. Returns what was done.

    Raises:
        BusyError: another process writes to the stack.
        ImageError: as `plan_lossless`; in a whole stack, a layer that cannot be rewritten is skipped and reported instead.
        Cancelled: as asked.
    """
    token = cancel or CancelToken()
    thinned: list[Thinned] = []
    skipped: list[tuple[Layer, str]] = []
    with hold_stacks(_chosen(Stack.open(directory), layers)):
        # Descendants first: the ancestors that a layer reads while it is rewritten are still those that were opened.
        for layer in reversed(_chosen(Stack.open(directory), layers)):
            try:
                found = thin(layer, listen, token)
                if found.pages:
                    rewrite(
                        layer,
                        layer.parent(),
                        {which: layer.pagemap(which).present - runs for which, runs in found.equal.items()},
                        listen,
                        token,
                    )
                thinned.append(found)
            except ImageError as error:
                if layers is not None:
                    raise
                listen(Notice(f"{layer.name} stays as it is: {error}"))
                skipped.append((layer, str(error)))
            except Cancelled as error:
                done = sum(bool(it.pages) for it in thinned)
                raise Cancelled(
                    "dedup --lossless", why=f"cancelled; {done} layers were rewritten, all can be restored as before"
                ) from error
        why_not, equal, shared = why_not_shared(directory), None, 0
        if not why_not:
            stack = Stack.open(directory)
            again = None if layers is None else _chosen(stack, layers)
            equal = find_equal(pages_files((*stack.layers, *stack.trashed)), again, listen, token)
            shared = make_shared(equal, listen, token)
    return _summed(directory, thinned[::-1], skipped, equal, why_not, shared)


def thin(layer: Layer, listen: Listener = ignore, cancel: CancelToken | None = None) -> Thinned:
    """Compare every page that *layer* has in common with its direct parent.

    Raises:
        ImageError: the layer is in an archive or compressed, its chain is broken, or a pages file cannot be read.
        Cancelled: as asked.
    """
    layer.require_writable(WHAT)
    chain = layer.chain()
    own_pages = sum(layer.pagemap(which).present.pages for which in layer.objects)
    meter = Meter(f"compare {layer.name}", listen, total=own_pages * PAGE)
    equal: dict[Object, PageRuns] = {}
    freed = 0
    for which in layer.objects:
        if len(chain) > 1 and which in chain[1].held and (same := _same(chain, which, meter, cancel or CancelToken())):
            equal[which] = same
            freed += _blocks(layer, which, same)
    return Thinned(layer, own_pages, equal, sum(runs.pages for runs in equal.values()), freed)


def _same(chain: tuple[Layer, ...], which: Object, meter: Meter, cancel: CancelToken) -> PageRuns:
    """The pages of `chain[0]` that have the same content in its parent. Pages punched on either side do not count."""
    layer = chain[0]
    present = layer.pagemap(which).present
    mine = present - owners.to_addresses(present, freed_in(layer, layer.pages_name(which)).all)
    found = NONE
    with layer.open_pages(which) as content:
        for share in owners.resolve(chain[1:], which).shares:
            there = share.layer.pagemap(which).present
            runs = (mine & share.runs) - share.punched
            runs -= owners.to_addresses(there, freed_in(share.layer, share.pages_file.name).all)
            if runs:
                with share.open() as other:
                    offsets = _compare(content, other, Pieces.of(runs, present, there), meter, cancel)
                found |= owners.to_addresses(present, offsets)
    return found


def _compare(one: Content, other: Content, pieces: Pieces, meter: Meter, cancel: CancelToken) -> PageRuns:
    """The offsets in *one* of the pages that are equal in both."""
    starts: list[int] = []
    ends: list[int] = []
    for begin, there, size in _announced(pieces, one, other):
        for at in range(0, size, _CHUNK):
            length = min(_CHUNK, size - at)
            cancel.check("dedup --lossless")
            mine, others = one.pread(length, begin + at), other.pread(length, there + at)
            if len(mine) != length or len(others) != length:
                raise ImageError(WHAT, "a pages file", "it is shorter than its map says")
            if mine == others:
                starts.append(begin + at)
                ends.append(begin + at + length)
            elif length > PAGE:
                columns = (np.frombuffer(side, dtype=np.uint64).reshape(-1, PAGE // 8) for side in (mine, others))
                index = np.flatnonzero(np.equal(*columns).all(axis=1)) * PAGE + (begin + at)
                starts += index.tolist()
                ends += (index + PAGE).tolist()
            meter.step(length)
    return PageRuns.from_arrays(np.array(starts, dtype=np.uint64), np.array(ends, dtype=np.uint64))


def _announced(pieces: Pieces, one: Content, other: Content) -> Iterator[tuple[int, int, int]]:
    """*pieces*, some of them announced to the kernel before they are read, so that scattered pages are fetched together, not one by one."""
    listed = iter(pieces)
    while batch := list(islice(listed, _AHEAD)):
        for begin, there, size in batch:
            for content, at in ((one, begin), (other, there)):
                if content.fd is not None:
                    os.posix_fadvise(content.fd, at, size, os.POSIX_FADV_WILLNEED)
        yield from batch


def _offsets(layer: Layer, which: Object, runs: PageRuns) -> PageRuns:
    return owners.to_offsets(layer.pagemap(which).present, runs)


def _blocks(layer: Layer, which: Object, runs: PageRuns) -> int:
    """Bytes of the blocks under a layer's own pages; holes take none."""
    with layer.open_pages(which) as content:
        try:
            holes = holes_of(content.fd, content.size) if content.fd is not None else NONE
        except NativeError as error:
            raise ImageError("cannot read image", str(layer.pages_path(which)), str(error)) from error
    return (_offsets(layer, which, runs) - holes).bytes


def _summed(
    stack: Path, thinned: Iterable[Thinned], skipped: Iterable[tuple[Layer, str]], equal: Equal | None, why_not: str, shared: int = 0
) -> LosslessPlan:
    layers = tuple(thinned)
    pages, freed = sum(it.pages for it in layers), sum(it.bytes_freed for it in layers)
    return LosslessPlan(stack, layers, tuple(skipped), pages, freed, equal, why_not, shared)
