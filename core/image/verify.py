"""Is a layer whole? Everything that would make a restore fail, hang or run on wrong memory, found before anything is touched.

CRIU notices little of it: a pages file that is too short makes it loop for ever, a missing fdinfo gives a task without descriptors, a
punched page reads as zeros.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.findings import Finding
from lamina.core.image.format import TaskState, VmaStatus
from lamina.core.image.holes import file_holes
from lamina.core.image.layer import Layer, Object
from lamina.core.image.schema import mm_entry
from lamina.core.image.sums import differing_block

_FILE_STATUS = VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED


def check_chain(layer: Layer, contents: bool = False) -> list[Finding]:
    """All that is wrong with *layer* and what it needs of its ancestors; an empty list means that it can be restored.

    With *contents* every byte is compared with the checksums in the sidecars (as fast as the disk reads).
    """
    try:
        chain = layer.chain()
    except ImageError as error:
        return [Finding.from_error(layer, "parent", error)]
    found: list[Finding] = []
    for member in chain:
        found += _check_memory_files(member)
        found += _check_recorded_files(member, contents, whole=member is layer)
    found += _collect(layer, "pstree.img", lambda: _check_tasks(layer))
    for which in layer.objects:
        found += _collect(layer, f"pagemap-{which}.img", partial(check_pages, chain, which))
    return list(dict.fromkeys(found))


def require_whole(layer: Layer, contents: bool = False) -> None:
    """Refuse a layer in which `check_chain` finds something, in one line that names the first thing and how many there are.

    Raises:
        ImageError: it cannot be restored.
    """
    found = check_chain(layer, contents)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        first = found[0]
        place = "" if first.layer == layer.directory else f"ancestor {first.layer.name}: "
        raise ImageError(
            "cannot restore",
            f"layer {layer.path}",
            f"{place}{f'{first.file}: ' if first.file else ''}{first.why}{more}",
        )


def check_pages(chain: Sequence[Layer], which: Object) -> Iterator[Finding]:
    """Whether every page that `chain[0]` knows of *which* is where the maps say. Raises `ImageError` if a map cannot be read."""
    file = f"pagemap-{which}.img"
    owned = owners.resolve(chain, which)
    for lacking, runs in owned.missing:
        if lacking is chain[0]:
            yield Finding.of(chain[0], file, f"{runs.pages} pages are inherited, but it has no parent ({_first(runs)})")
        else:
            yield Finding.of(
                chain[0],
                file,
                f"{runs.pages} inherited pages are not in the map of its ancestor {lacking.name} ({_first(runs)})",
            )
    if owned.nowhere:
        yield Finding.of(chain[0], file, f"{owned.nowhere.pages} pages have no data: a lazy dump that was never completed")
    for share in owned.shares:
        if share.punched:
            sidecar = share.layer.sidecar
            by = ", ".join(sidecar.punched_by) if sidecar else ""
            what = "of its pages" if share.layer is chain[0] else f"pages it needs of {share.layer.name}"
            yield Finding.of(
                chain[0],
                file,
                f"{share.punched.pages} {what} were punched by {by or 'a dedup'} ({_first(share.punched)})",
            )


def _first(runs: PageRuns) -> str:
    return f"the first at {int(runs.starts[0]):#x}"


def _collect(layer: Layer, file: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What *check* yields, ending with the error that stopped it."""
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)
    except ImageError as error:
        found.append(Finding.from_error(layer, file, error))
    return found


# -- memory --------------------------------------------------------------------------------------------------------------------------


def _check_memory_files(layer: Layer) -> list[Finding]:
    found = _collect(layer, "inventory.img", lambda: _check_inventory(layer))
    for which in layer.objects:
        found += _collect(layer, f"pagemap-{which}.img", partial(_check_pages_file, layer, which))
    return found


def _check_inventory(layer: Layer) -> Iterator[Finding]:
    record = layer.inventory
    if not layer.is_pre_dump and not record.fdinfo_per_id:
        yield Finding.of(layer, "inventory.img", "an image set of before 2013 (no fdinfo_per_id)")
    sidecar = layer.sidecar
    if sidecar and sidecar.page_size != PAGE:
        yield Finding.of(layer, "lamina.json", f"made with pages of {sidecar.page_size} bytes, this machine has {PAGE}")


def _check_pages_file(layer: Layer, which: Object) -> Iterator[Finding]:
    pagemap = layer.pagemap(which)
    name = layer.pages_name(which)
    try:
        info = os.lstat(layer.file(name))
    except OSError:
        if pagemap.data_bytes:
            yield Finding.of(layer, name, "missing")
        return
    if info.st_mode & 0o170000 != 0o100000:
        yield Finding.of(layer, name, "not a regular file")
    elif info.st_size != pagemap.data_bytes:
        word = "shorter" if info.st_size < pagemap.data_bytes else "longer"
        yield Finding.of(layer, name, f"{word} than its map says: {info.st_size} bytes, not {pagemap.data_bytes}")
    elif info.st_blocks * 512 < info.st_size:
        yield from _check_holes(layer, name, info.st_size)


def _check_holes(layer: Layer, name: str, size: int) -> Iterator[Finding]:
    """Holes that nobody recorded: criu's dedup leaves them, and so do a sparse copy or a compressing file system (of zero pages)."""
    sidecar = layer.sidecar
    recorded = sidecar.punched.get(name, PageRuns.empty()) if sidecar else PageRuns.empty()
    holes = file_holes(layer.file(name), size) - recorded
    if not holes:
        return
    expected = sidecar.checksums.get(name) if sidecar else None
    if expected is not None and not differing_block(layer.file(name), expected, recorded):
        return
    yield Finding.of(
        layer,
        name,
        f"{holes.pages} pages of it were punched by another tool (the first at offset {int(holes.starts[0]):#x})",
    )


def _check_recorded_files(layer: Layer, contents: bool, whole: bool) -> list[Finding]:
    """The files that the sidecar lists. Of an ancestor (*whole* false) only memory is needed."""

    def check() -> Iterator[Finding]:
        sidecar = layer.sidecar
        for name, expected in sidecar.checksums.items() if sidecar else ():
            if not whole and not name.startswith(("pagemap-", "pages-", "inventory")):
                continue
            try:
                info = os.lstat(layer.file(name))
            except OSError:
                yield Finding.of(layer, name, "missing")
                continue
            if info.st_size != expected.size:
                yield Finding.of(layer, name, f"has {info.st_size} bytes, was written with {expected.size}")
                continue
            # The small images are always compared: they are read anyway, and a flipped bit in one is a wrong register.
            if contents or not name.startswith("pages-"):
                punched = sidecar.punched.get(name, PageRuns.empty()) if sidecar else PageRuns.empty()
                if why := differing_block(layer.file(name), expected, punched):
                    yield Finding.of(layer, name, why)

    return _collect(layer, "lamina.json", check)


# -- tasks ---------------------------------------------------------------------------------------------------------------------------


def _check_tasks(layer: Layer) -> Iterator[Finding]:
    if layer.is_pre_dump:
        yield Finding.of(layer, "", "it is a pre-dump: memory only, a parent for others")
        return
    for task in layer.pstree:
        for tid in task.threads or [task.pid]:
            core = layer.core(tid)
            if tid == task.pid and not core.HasField("tc"):
                yield Finding.of(layer, f"core-{tid}.img", "it has no task part although it is the leader's")
        if layer.core(task.pid).tc.task_state == TaskState.DEAD:
            continue
        yield from _check_task(layer, task.pid)


def _check_task(layer: Layer, pid: int) -> Iterator[Finding]:
    files = layer.files
    ids = layer.ids(pid)
    mm = layer.mm(pid)
    fs = layer.fs(pid)
    if not layer.has(f"fdinfo-{ids.files_id}.img"):
        yield Finding.of(layer, f"fdinfo-{ids.files_id}.img", "missing")
    else:
        entries = layer.fdinfo(ids.files_id)
        if len({entry.fd for entry in entries}) != len(entries):
            yield Finding.of(layer, f"fdinfo-{ids.files_id}.img", "a descriptor occurs twice")
        for entry in entries:
            if entry.id not in files or files[entry.id].type != entry.type:
                yield Finding.of(layer, "files.img", f"has no entry {entry.id} for descriptor {entry.fd} of {pid}")
    for what, number in (
        ("the executable", mm.exe_file_id),
        ("the working directory", fs.cwd_id),
        ("the root", fs.root_id),
    ):
        if number not in files:
            yield Finding.of(layer, "files.img", f"has no entry {number} for {what} of {pid}")
    yield from _check_areas(layer, pid, mm)
    if not layer.has(f"pagemap-{pid}.img"):
        yield Finding.of(layer, f"pagemap-{pid}.img", "missing")


def _check_areas(layer: Layer, pid: int, mm: mm_entry) -> Iterator[Finding]:
    name = f"mm-{pid}.img"
    # CRIU keeps guard regions as areas of their own, at the end of the list.
    areas = [area for area in mm.vmas if not area.status & VmaStatus.GUARD]
    starts = np.array([area.start for area in areas], dtype=np.uint64)
    ends = np.array([area.end for area in areas], dtype=np.uint64)
    if (starts % PAGE).any() or (ends % PAGE).any() or (ends <= starts).any() or (starts[1:] < ends[:-1]).any():
        yield Finding.of(layer, name, "its areas are not in order")
        return
    for area in areas:
        if area.status & _FILE_STATUS and not area.status & VmaStatus.SOCKET and area.shmid not in layer.files:
            yield Finding.of(layer, "files.img", f"has no entry {area.shmid} for the area at {area.start:#x} of {pid}")
    if layer.has(f"pagemap-{pid}.img"):
        outside = layer.pagemap(pid).all - PageRuns.from_arrays(starts, ends)
        if outside:
            yield Finding.of(layer, f"pagemap-{pid}.img", f"{outside.pages} pages lie in no area ({_first(outside)})")
