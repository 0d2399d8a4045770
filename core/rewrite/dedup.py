"""Dedup: frees the blocks of pages in a layer's ancestors that the layer itself holds (docs/image-format.md).

Pages that any layer outside the chain still needs are kept. An ancestor that loses pages of its own memory is no longer restorable. Its
sidecar says so, with the ranges, and is on the disk before the first block is freed, so an interrupted dedup is visible and can be
repeated.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, NativeError
from lamina.core.events import CancelToken, Listener, Meter, ignore
from lamina.core.image import owners
from lamina.core.image.holes import file_holes, punch
from lamina.core.image.layer import Layer, Object
from lamina.core.image.sidecar import Sidecar
from lamina.core.rewrite.checksums import open_plain, renew, require_contents
from lamina.core.rewrite.needed_pages import NONE, Family, FileKey, file_key, hold_stacks, needed_by_others
from lamina.core.verify import Checker

WHAT = "cannot dedup"
_STEP = 1 << 16  # pages punched between two words about progress


@dataclass(frozen=True)
class Cut:
    """What is to be freed in one pages file.

    Attributes:
        layer: the ancestor that loses it.
        pages_file: the file's name.
        ranges: file offsets, whole pages; recorded as punched.
        bytes_freed: blocks this frees: the ranges without what is a hole already. 0 for a second name of the same file.
    """

    layer: Layer
    pages_file: str
    ranges: PageRuns
    bytes_freed: int


@dataclass(frozen=True)
class DedupPlan:
    """What `dedup` of a layer would do.

    Attributes:
        layer: the layer whose ancestors lose pages.
        cuts: by ancestor and pages file; empty if there is nothing to take out.
        losing: ancestors that can be restored now and no longer after it, the nearest first.
        marks: ancestors whose sidecar must say that they cannot be restored; more than `losing` if an earlier dedup was interrupted.
        pinned: ancestors that are pinned: they keep all they need, theirs and inherited.
        pages: pages taken out.
        bytes_freed: bytes of disk (or memory, on tmpfs) this gives back.
    """

    layer: Layer
    cuts: tuple[Cut, ...]
    losing: tuple[Layer, ...]
    marks: tuple[Layer, ...]
    pinned: tuple[Layer, ...]
    pages: int
    bytes_freed: int


def dedup(
    layer: Layer, listen: Listener = ignore, cancel: CancelToken | None = None, locked_already: bool = False, unreached: bool = False
) -> tuple[DedupPlan, int]:
    """Plan and do it in one go. Returns what was planned and the bytes freed; see `plan_dedup` and `apply_dedup`."""
    with hold_stacks([layer], locked_already):
        plan = plan_dedup(Layer(layer.directory), unreached)
        return plan, _carry_out(plan, listen, cancel or CancelToken())


def apply_dedup(plan: DedupPlan, locked_already: bool = False, listen: Listener = ignore, cancel: CancelToken | None = None) -> int:
    """Do it: mark the sidecars of the ancestors, fsync them, then free the blocks. Returns the bytes freed.

    *locked_already* says that the caller holds the writer's lock of the stack (a dump with `--auto-dedup`). *cancel* is heard until the
    first sidecar is written.

    Raises:
        BusyError: another process writes to the stack.
        Cancelled: nothing was changed.
        ImageError: the stack changed since the plan was made, the layer's own pages do not match their checksums (nothing was freed), or
            the file system cannot punch holes.
    """
    with hold_stacks([plan.layer], locked_already):
        current = plan_dedup(Layer(plan.layer.directory))
        if _shape(current) != _shape(plan):
            raise ImageError(WHAT, f"layer {plan.layer.path}", "the stack changed since the dry run", "look at it again")
        return _carry_out(current, listen, cancel or CancelToken())


def plan_dedup(layer: Layer, unreached: bool = False) -> DedupPlan:
    """What can be taken out of the ancestors of *layer*. Changes nothing: this is the dry run.

    With *unreached* that is everything in the ancestors that neither the layer nor a layer outside its chain needs: pages that it holds
    itself, and pages that it no longer has. A page server does that, so that its file system holds one copy of the newest layer.

    Raises:
        ImageError: *layer* has no parent, or is itself not whole, or a layer beside the chain cannot be read (what it needs is unknown),
            or what would be freed has another name (a hard link) outside the stack.
    """
    layer.require_writable(WHAT)
    if layer.parent_link is None:
        raise ImageError(WHAT, f"layer {layer.path}", "it has no parent: there is nothing to take out")
    family = Family.around(layer, WHAT)
    if findings := [it for it in Checker(known=family.layers.values()).check(layer) if it.stops]:
        raise ImageError(WHAT, f"layer {layer.path}", f"it is not whole: {findings[0]}")
    wanted = _everything(family) if unreached else _held_twice(family)
    names = family.names_of(wanted)
    pinned = tuple(it for it in family.chain[1:] if it.sidecar and it.sidecar.pinned)
    kept = needed_by_others(family, names, pinned)
    by_file = [list(_cuts_of(family, names[key], ranges - kept.get(key, NONE))) for key, ranges in wanted.items()]
    order = {member.key: at for at, member in enumerate(family.chain)}
    cuts = sorted((cut for group in by_file for cut in group), key=lambda cut: (order[cut.layer.key], cut.pages_file))
    losing, marks = _losing(family.chain, cuts)
    pages = sum(group[0].ranges.pages for group in by_file if group)
    return DedupPlan(family.chain[0], tuple(cuts), losing, marks, pinned, pages, sum(cut.bytes_freed for cut in cuts))


# -- planning ------------------------------------------------------------------------------------------------------------------------


def _shape(plan: DedupPlan) -> tuple[object, ...]:
    return tuple((cut.layer.key, cut.pages_file, cut.ranges) for cut in plan.cuts)


def _held_twice(family: Family) -> dict[FileKey, PageRuns]:
    """Where the ancestors store pages that the layer holds itself: offsets by pages file."""
    layer, *ancestors = family.chain
    wanted: dict[FileKey, PageRuns] = {}
    for which in layer.objects:
        own = layer.pagemap(which).present
        for ancestor in ancestors if own else ():
            if which not in ancestor.held:
                break  # what an older layer has under this number is another task
            there = ancestor.pagemap(which).present
            if pages := own & there:
                ancestor.require_writable(WHAT)
                key = file_key(ancestor, ancestor.pages_name(which))
                wanted[key] = wanted.get(key, NONE) | owners.to_offsets(there, pages)
    return wanted


def _everything(family: Family) -> dict[FileKey, PageRuns]:
    """All that the ancestors keep: offsets by pages file."""
    wanted: dict[FileKey, PageRuns] = {}
    for ancestor in family.chain[1:]:
        for which in ancestor.objects:
            if present := ancestor.pagemap(which).present:
                ancestor.require_writable(WHAT)
                key = file_key(ancestor, ancestor.pages_name(which))
                wanted[key] = wanted.get(key, NONE) | owners.to_offsets(present, present)
    return wanted


def _cuts_of(family: Family, names: list[tuple[Layer, str]], ranges: PageRuns) -> Iterator[Cut]:
    """One pages file: a cut for each ancestor that has it under a name."""
    ancestors = {member.key for member in family.chain[1:]}
    first = True
    for layer, name in names:
        if layer.key not in ancestors or not ranges:
            continue
        path = layer.file(name)
        info = path.stat()
        if first and info.st_nlink > len(names):
            why = f"{path} has another name (a hard link) outside this stack, and would lose pages there too"
            raise ImageError(WHAT, f"layer {family.chain[0].path}", why, "remove that name, or replace this one by a copy")
        holes = file_holes(path, info.st_size)
        recorded = layer.sidecar.punched.get(name, NONE) if layer.sidecar else NONE
        # What an interrupted dedup recorded and did not come to free is done now.
        if todo := ranges - (recorded & holes):
            yield Cut(layer, name, todo, (todo - holes).bytes if first else 0)
        first = False


def _losing(chain: tuple[Layer, ...], cuts: list[Cut]) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """Ancestors that need a page that is freed now or was freed before: those that were restorable until now; those to be marked."""
    lost: dict[Object, PageRuns] = {}  # as addresses, in the layer last looked at
    gone: dict[Object, PageRuns] = {}  # the same, lost before
    losing: list[Layer] = []
    marks: list[Layer] = []
    for ancestor in reversed(chain[1:]):
        ranges = {cut.pages_file: cut.ranges for cut in cuts if cut.layer.key == ancestor.key}
        lost, above = {}, lost
        gone, gone_above = {}, gone
        for which in ancestor.objects:
            pagemap = ancestor.pagemap(which)
            own = owners.to_addresses(pagemap.present, ranges.get(ancestor.pages_name(which), NONE))
            lost[which] = own | (pagemap.parent & above.get(which, NONE))
            gone[which] = owners.punched_in(ancestor, which) | (pagemap.parent & gone_above.get(which, NONE))
        if ancestor.is_pre_dump:
            continue
        already, loses = any(gone.values()), any(lost.values())
        if loses and not already:
            losing.append(ancestor)
        if (loses or already) and (ancestor.sidecar is None or ancestor.sidecar.restorable):
            marks.append(ancestor)
    return tuple(losing[::-1]), tuple(marks[::-1])


# -- doing ---------------------------------------------------------------------------------------------------------------------------


def _carry_out(plan: DedupPlan, listen: Listener, cancel: CancelToken) -> int:
    layer = plan.layer
    if not plan.cuts and not plan.marks:
        return 0
    with ExitStack() as opened:
        files = [(cut, _open_for_punch(cut, opened)) for cut in plan.cuts]
        # From here on its pages are the only copy, so they are looked at, and on the disk, before the others go.
        require_contents(layer, WHAT, listen, cancel)
        sidecars = _sidecars(plan, files, listen, cancel)
        cancel.check(f"dedup of {layer.name}")
        # What was punched first: a layer that is only marked could still be restored if we ended here.
        for member in sorted(sidecars, key=lambda member: not any(cut.layer is member for cut in plan.cuts)):
            sidecars[member].store(member.directory)
        meter = Meter("punch", listen, total=sum(cut.ranges.pages for cut in plan.cuts) * PAGE)
        return sum(_free(cut, fd, meter) for cut, fd in files)


def _open_for_punch(cut: Cut, opened: ExitStack) -> int:
    """Open the file of a cut, and test that its file system can punch holes by punching past the end."""
    path = cut.layer.file(cut.pages_file)
    fd = open_plain(path, WHAT, os.O_RDWR)
    opened.callback(os.close, fd)
    behind = -(-os.fstat(fd).st_size // PAGE) * PAGE
    try:
        punch(fd, PageRuns.of([(behind, behind + PAGE)]))
    except NativeError as error:
        raise _cannot_punch(path, error) from error
    return fd


def _cannot_punch(path: Path, error: NativeError) -> ImageError:
    if error.errnum == errno.EOPNOTSUPP:
        return ImageError(WHAT, str(path), "its file system cannot punch holes", "ext4, xfs, btrfs and tmpfs can; or use --lossless")
    return ImageError(WHAT, str(path), os.strerror(error.errnum))


def _sidecars(plan: DedupPlan, files: list[tuple[Cut, int]], listen: Listener, cancel: CancelToken) -> dict[Layer, Sidecar]:
    """The sidecars that say what will be punched, with checksums that already count it as zeros."""
    sidecars = {layer: layer.sidecar or Sidecar.for_foreign(layer.directory) for layer in (*plan.marks, *(it.layer for it in plan.cuts))}
    meter = Meter("checksums", listen, total=sum(cut.ranges.pages for cut in plan.cuts) * PAGE)
    for cut, fd in files:
        before = sidecars[cut.layer]
        after = before.with_punched(cut.pages_file, cut.ranges, plan.layer.name)
        if expected := before.checksums.get(cut.pages_file):
            ranges = before.punched.get(cut.pages_file, NONE), after.punched[cut.pages_file]
            renewed = renew(fd, cut.layer.file(cut.pages_file), expected, *ranges, WHAT, meter, cancel)
            after = replace(after, checksums={**after.checksums, cut.pages_file: renewed})
        sidecars[cut.layer] = after
    for layer in plan.marks:
        sidecars[layer] = sidecars[layer].not_restorable(f"punched by {plan.layer.name}")
    return sidecars


def _free(cut: Cut, fd: int, meter: Meter) -> int:
    before = os.fstat(fd).st_blocks
    try:
        for part in cut.ranges.split(_STEP):
            punch(fd, part)
            meter.step(part.bytes)
        os.fsync(fd)
    except NativeError as error:
        raise _cannot_punch(cut.layer.file(cut.pages_file), error) from error
    except OSError as error:
        raise ImageError(WHAT, str(cut.layer.file(cut.pages_file)), os.strerror(error.errno or 0)) from error
    return max(0, before - os.fstat(fd).st_blocks) * 512
