"""Dedup: the ancestors of a layer give back the blocks of pages that the layer itself holds (docs/image-format.md).

What any layer off the chain resolves there stays. An ancestor that lost pages it needs is no longer restorable, and its sidecar says so,
with the ranges, on the disk before the first block is freed; so a dedup that is interrupted can be repeated and is never hidden.
"""

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.image import owners
from lamina.core.image.findings import Finding
from lamina.core.image.holes import file_holes, punch
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import sweep_beside
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.stack import Stack
from lamina.core.image.sums import FileSum, blocks_of, sum_blocks
from lamina.core.image.verify import check_chain


@dataclass(frozen=True)
class Cut:
    """What is to be freed in one pages file.

    Attributes:
        layer: the ancestor that loses it.
        pages_file: the file's name.
        ranges: file offsets, whole pages; recorded as punched.
        bytes_freed: blocks this frees: the ranges without what is a hole already.
    """

    layer: Layer
    pages_file: str
    ranges: PageRuns
    bytes_freed: int


@dataclass(frozen=True)
class DedupPlan:
    """What `dedup` of a layer would do.

    Attributes:
        layer: the layer whose ancestors are thinned out.
        cuts: by ancestor and pages file; empty if there is nothing to take out.
        losing: ancestors that can be restored now and no longer after it, the nearest first.
        pages: pages taken out.
        bytes_freed: bytes of disk (or memory, on tmpfs) this gives back.
    """

    layer: Layer
    cuts: tuple[Cut, ...]
    losing: tuple[Layer, ...]
    pages: int
    bytes_freed: int


def plan_dedup(layer: Layer) -> DedupPlan:
    """What can be taken out of the ancestors of *layer*. Changes nothing: this is the dry run.

    Raises:
        ImageError: *layer* has no parent, or is itself not whole, or a layer beside the chain cannot be read (what it needs is unknown).
    """
    chain = layer.chain()
    if len(chain) == 1:
        raise ImageError("cannot dedup", f"layer {layer.path}", "it has no parent: there is nothing to take out")
    if findings := [it for it in check_chain(layer) if not _only_pre_dump(it)]:
        raise ImageError("cannot dedup", f"layer {layer.path}", f"it is not whole: {findings[0]}")
    kept = _needed_off_chain(chain)
    cuts: list[Cut] = []
    lost: dict[tuple[tuple[object, ...], Object], PageRuns] = {}
    for ancestor in chain[1:]:
        offsets: dict[str, PageRuns] = {}
        for which in layer.objects:
            if which not in ancestor.objects:
                continue
            there = ancestor.pagemap(which).present
            pages = (layer.pagemap(which).present & there) - kept.get((ancestor.key, which), PageRuns.empty())
            if pages:
                name = ancestor.pages_name(which)
                offsets[name] = offsets.get(name, PageRuns.empty()) | owners.to_offsets(there, pages)
                lost[(ancestor.key, which)] = pages - owners.punched_in(ancestor, which)
        for name, ranges in offsets.items():
            path = ancestor.file(name)
            holes = file_holes(path, path.stat().st_size)
            sidecar = ancestor.sidecar
            recorded = sidecar.punched.get(name, PageRuns.empty()) if sidecar else PageRuns.empty()
            # What an interrupted dedup recorded and did not come to free is done now.
            if todo := ranges - (recorded & holes):
                cuts.append(Cut(ancestor, name, todo, (todo - holes).bytes))
    pages_cut, freed = sum(cut.ranges.pages for cut in cuts), sum(cut.bytes_freed for cut in cuts)
    return DedupPlan(layer, tuple(cuts), _losing(chain, lost), pages_cut, freed)


def apply_dedup(plan: DedupPlan, locked_already: bool = False) -> int:
    """Do it: mark the sidecars of the ancestors, fsync them, then free the blocks. Returns the bytes freed.

    *locked_already* says that the caller holds the writer's lock of the stack (a dump with `--auto-dedup`).

    Raises:
        BusyError: another process writes to the stack.
        ImageError: the stack changed since the plan was made, the layer's own pages do not match their checksums (nothing was freed), or
            the file system cannot punch holes.
    """
    layer = plan.layer
    with nullcontext() if locked_already else locked(stack_of(layer.directory)):
        sweep_beside(layer.directory)
        if _shape(plan_dedup(Layer(layer.directory))) != _shape(plan):
            raise ImageError("cannot dedup", f"layer {layer.path}", "the stack changed since the dry run", "look at it again")
        # From here on its pages are the only copy, so they are looked at before the others go.
        own = [it for it in check_chain(layer, contents=True) if it.layer == layer.directory and not _only_pre_dump(it)]
        if own:
            raise ImageError("cannot dedup", f"layer {layer.path}", str(own[0]))
        files = [(cut, _open_for_punch(cut)) for cut in plan.cuts]
        try:
            _record(plan, files)
            return sum(_free(cut, fd) for cut, fd in files)
        finally:
            for _, fd in files:
                os.close(fd)


def _only_pre_dump(finding: Finding) -> bool:
    return "pre-dump" in finding.why


def _shape(plan: DedupPlan) -> tuple[object, ...]:
    return tuple((cut.layer.key, cut.pages_file, cut.ranges) for cut in plan.cuts)


def _needed_off_chain(chain: tuple[Layer, ...]) -> dict[tuple[tuple[object, ...], Object], PageRuns]:
    """For each ancestor and object: the pages that layers which do not descend from `chain[0]` resolve there."""
    keys = {member.key for member in chain}
    ancestors = keys - {chain[0].key}
    needed: dict[tuple[tuple[object, ...], Object], PageRuns] = {}
    directories = dict.fromkeys(stack_of(member.directory) for member in chain)
    for directory in directories:
        stack = Stack.open(directory)
        if stack.unreadable:
            bad = stack.unreadable[0]
            raise ImageError(
                "cannot dedup", f"layer {chain[0].path}", f"what {bad.path.name} needs of it is not known: {bad.why}",
                f"repair or remove {bad.path}",
            )  # fmt: skip
        for other in stack.layers:
            above = other.chain()
            if other.key in keys or any(member.key == chain[0].key for member in above):
                continue
            if not any(member.key in ancestors for member in above):
                continue
            for which in other.objects:
                for share in owners.resolve(above, which).shares:
                    if share.layer.key in ancestors:
                        place = (share.layer.key, which)
                        needed[place] = needed.get(place, PageRuns.empty()) | share.runs
    return needed


def _losing(chain: tuple[Layer, ...], lost: dict[tuple[tuple[object, ...], Object], PageRuns]) -> tuple[Layer, ...]:
    """The ancestors that resolve a page to one of the *lost* ones and resolved all their pages before."""
    losing: list[Layer] = []
    for at, ancestor in enumerate(chain[1:], start=1):
        if ancestor.is_pre_dump:
            continue
        maps = {which: owners.resolve(chain[at:], which) for which in ancestor.objects}
        already = any(owned.punched for owned in maps.values())
        loses = any(
            share.runs & lost.get((share.layer.key, which), PageRuns.empty()) for which, owned in maps.items() for share in owned.shares
        )
        if loses and not already:
            losing.append(ancestor)
    return tuple(losing)


def _open_for_punch(cut: Cut) -> int:
    path = cut.layer.file(cut.pages_file)
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError("cannot dedup", str(path), os.strerror(error.errno or 0)) from error


def _record(plan: DedupPlan, files: list[tuple[Cut, int]]) -> None:
    """Write what will be punched into the sidecars, with checksums that already count it as zeros, and make that durable."""
    sidecars: dict[Path, Sidecar] = {}
    for layer in {cut.layer for cut in plan.cuts} | set(plan.losing):
        sidecars[layer.directory] = layer.sidecar or Sidecar.for_foreign(layer.directory)
    for cut, fd in files:
        sidecar = sidecars[cut.layer.directory].with_punched(cut.pages_file, cut.ranges, plan.layer.name)
        if expected := sidecar.checksums.get(cut.pages_file):
            punched = sidecar.punched[cut.pages_file]
            renewed = sum_blocks(fd, expected.size, blocks_of(cut.ranges), punched)
            blocks = tuple(renewed.get(index, before) for index, before in enumerate(expected.blocks))
            sums = {**sidecar.checksums, cut.pages_file: FileSum(expected.size, blocks)}
            sidecar = replace(sidecar, checksums=sums)
        sidecars[cut.layer.directory] = sidecar
    for layer in plan.losing:
        sidecars[layer.directory] = sidecars[layer.directory].not_restorable(f"punched by {plan.layer.name}")
    for directory, sidecar in sidecars.items():
        sidecar.store(directory)


def _free(cut: Cut, fd: int) -> int:
    before = os.fstat(fd).st_blocks
    try:
        punch(fd, cut.ranges)
        os.fsync(fd)
    except (NativeError, OSError) as error:
        why = os.strerror(error.errnum) if isinstance(error, NativeError) else str(error)
        raise ImageError(
            "cannot dedup",
            str(cut.layer.file(cut.pages_file)),
            why,
            "the file system must know holes: ext4, xfs, btrfs, tmpfs",
        ) from error
    return max(0, before - os.fstat(fd).st_blocks) * 512
