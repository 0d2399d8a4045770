"""What only the layer itself needs: its tasks, their threads, areas and descriptors; whether all that they refer to is there, and whether
their records say what records can say, as their kinds know it.
"""

import stat
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image.format import TaskState, VmaStatus
from lamina.core.image.layer import Layer
from lamina.core.image.records.areas import writable
from lamina.core.image.schema import core_entry, fdinfo_entry, mm_entry, pstree_entry, vma_entry
from lamina.core.image.supplement import problems
from lamina.core.kinds.table import ATTRIBUTES, DESCRIPTORS
from lamina.core.objects.file_records import file_damage, kept_damage, table_damage
from lamina.core.objects.task_kind import TaskRecord, ThreadRecord
from lamina.core.verify.collect import first, pages, some
from lamina.core.verify.findings import Finding

_FILE_STATUS = VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED


def check_tasks(layer: Layer, used: set[str]) -> Iterator[Finding]:
    """What is missing, contradicts itself or cannot be. The images that were looked at are added to *used*.

    Raises:
        ImageError: an image cannot be read.
    """
    used |= {"inventory.img", "pstree.img"}
    living: list[pstree_entry] = []
    for task in layer.pstree:
        used |= {f"core-{tid}.img" for tid in _threads(task)}
    for task in layer.pstree:
        for tid in _threads(task):
            if not layer.has(f"core-{tid}.img"):
                yield Finding.of(layer, f"core-{tid}.img", "missing")
            elif tid == task.pid:
                yield from _leader(layer, task)
        if not layer.has(f"core-{task.pid}.img") or layer.core(task.pid).tc.task_state != TaskState.DEAD:
            living.append(task)
    if not living:
        return
    yield from _files(layer, living, used)
    for task in living:
        yield from _task(layer, task, used)
    yield from some(layer, "lamina.json", _supplement(layer, living))


def _supplement(layer: Layer, living: Sequence[pstree_entry]) -> Iterator[str]:
    """What the sidecar says about things that are not there."""
    if layer.sidecar is None:
        return
    mapped = {
        task.pid: [(area.start, area.end) for area in layer.mm(task.pid).vmas if not area.status & VmaStatus.GUARD]
        for task in living
        if layer.has(f"mm-{task.pid}.img")
    }
    yield from problems(layer.sidecar.supplement, [tid for task in layer.pstree for tid in _threads(task)], mapped)
    yield from kept_damage(layer.sidecar.supplement.files, layer.files, DESCRIPTORS)


def _threads(task: pstree_entry) -> Sequence[int]:
    return task.threads or [task.pid]


def _leader(layer: Layer, task: pstree_entry) -> Iterator[Finding]:
    core = layer.core(task.pid)
    if core.HasField("tc"):
        yield from some(layer, f"core-{task.pid}.img", ATTRIBUTES.task_damage(TaskRecord(task.pid, _threads(task), core), "core"))
    else:
        yield Finding.of(layer, f"core-{task.pid}.img", "it has no task part although it is the leader's")


def _files(layer: Layer, living: Sequence[pstree_entry], used: set[str]) -> Iterator[Finding]:
    used |= {"files.img"}
    yield from some(layer, "files.img", (why for entry in layer.files.values() for why in file_damage(entry, DESCRIPTORS)))
    tables, seen = {}, set[int]()
    for task in living:
        name = f"ids-{task.pid}.img"
        files_id = layer.ids(task.pid).files_id if layer.has(name) else 0
        if files_id and files_id not in seen and layer.has(f"fdinfo-{files_id}.img"):
            tables[task.pid] = layer.fdinfo(files_id)
            seen.add(files_id)
    for kind in DESCRIPTORS:
        used |= {f"{name}.img" for name in kind.images if layer.has(f"{name}.img")}
        by_file: dict[str, list[str]] = {}
        for name, why in kind.layer_damage(layer, tables):
            by_file.setdefault(name, []).append(why)
        for name, sentences in by_file.items():
            yield from some(layer, name, sentences)


def _task(layer: Layer, task: pstree_entry, used: set[str]) -> Iterator[Finding]:
    pid = task.pid
    names = [f"{kind}-{pid}.img" for kind in ("ids", "mm", "fs")]
    used |= {*names, layer.map_name(pid)}
    missing = [name for name in (*names, layer.map_name(pid)) if not layer.has(name)]
    yield from (Finding.of(layer, name, "missing") for name in missing)
    if names[0] not in missing:
        yield from _descriptors(layer, pid, layer.ids(pid).files_id, used)
    references: list[tuple[str, int, Callable[[int], bool]]] = []
    if names[1] not in missing:
        references.append(("the executable", layer.mm(pid).exe_file_id, stat.S_ISREG))
    if names[2] not in missing:
        fs = layer.fs(pid)
        references += [("the working directory", fs.cwd_id, stat.S_ISDIR), ("the root", fs.root_id, stat.S_ISDIR)]
    for what, number, right in references:
        yield from _path(layer, number, f"{what} of {pid}", right)
    if names[1] in missing:
        return
    mm = layer.mm(pid)
    record = TaskRecord(pid, _threads(task), layer.core(pid) if layer.has(f"core-{pid}.img") else core_entry(), mm)
    wrong = [*some(layer, names[1], ATTRIBUTES.task_damage(record, "mm"))]
    yield from wrong
    if not wrong:
        yield from _areas(layer, pid, mm)
        spans = writable(mm.vmas)
        for tid in _threads(task):
            if layer.has(f"core-{tid}.img"):
                yield from some(layer, f"core-{tid}.img", ATTRIBUTES.thread_damage(ThreadRecord(tid, layer.core(tid), record, spans)))


def _path(layer: Layer, number: int, whose: str, right: Callable[[int], bool]) -> Iterator[Finding]:
    """The record *number* of files.img must be of a path and, if its mode was recorded, of the *right* kind of file."""
    entry = layer.files.get(number)
    if entry is None:
        yield Finding.of(layer, "files.img", f"has no entry {number} for {whose}")
    elif not entry.HasField("reg"):
        yield Finding.of(layer, "files.img", f"its entry {number} for {whose} is no file")
    elif entry.reg.mode and not right(entry.reg.mode):
        yield Finding.of(layer, "files.img", f"its entry {number} for {whose} is not that (mode {entry.reg.mode:#o})")


def _descriptors(layer: Layer, pid: int, files_id: int, used: set[str]) -> Iterator[Finding]:
    name = f"fdinfo-{files_id}.img"
    used |= {name}
    if not layer.has(name):
        # CRIU takes it for "no descriptors" and restores without any.
        yield Finding.of(layer, name, "missing")
        return
    entries = layer.fdinfo(files_id)
    yield from some(layer, name, table_damage(entries))
    yield from some(layer, "files.img", _unknown(layer, entries, pid))


def _unknown(layer: Layer, entries: Sequence[fdinfo_entry], pid: int) -> Iterator[str]:
    for entry in entries:
        if entry.id not in layer.files or layer.files[entry.id].type != entry.type:
            yield f"has no entry {entry.id} for descriptor {entry.fd} of {pid}"


def _areas(layer: Layer, pid: int, mm: mm_entry) -> Iterator[Finding]:
    """What the areas refer to, and pages that lie in none. They are without damage."""
    # CRIU keeps guard regions as areas of their own, at the end of the list.
    mapped = [area for area in mm.vmas if not area.status & VmaStatus.GUARD]
    yield from some(layer, "files.img", _unmapped(layer, mapped, pid))
    for area in mapped:
        shared = area.status & VmaStatus.ANON_SHARED and not area.status & (_FILE_STATUS | VmaStatus.SYSVIPC)
        if shared and f"shmem-{area.shmid}" not in layer.held:
            yield Finding.of(layer, f"pagemap-shmem-{area.shmid}.img", f"missing; it is the memory of the area at {area.start:#x} of {pid}")
    if layer.has(layer.map_name(pid)):
        starts = np.array([area.start for area in mapped], dtype=np.uint64)
        ends = np.array([area.end for area in mapped], dtype=np.uint64)
        outside = layer.pagemap(pid).all - PageRuns.from_arrays(starts, ends)
        if outside:
            lie = "lies" if outside.pages == 1 else "lie"
            yield Finding.of(layer, layer.map_name(pid), f"{pages(outside.pages)} {lie} in no area ({first(outside)})")
        yield from some(layer, layer.map_name(pid), _behind_ends(layer, mapped, pid))


def _behind_ends(layer: Layer, mapped: Sequence[vma_entry], pid: int) -> Iterator[str]:
    """Pages of private file mappings behind the end of the file: nobody can have written them, and nobody can write them again."""
    held = layer.pagemap(pid).all
    for area in mapped:
        entry = layer.files.get(area.shmid)
        if not area.status & VmaStatus.FILE_PRIVATE or entry is None or not entry.reg.HasField("size"):
            continue
        reach = area.start + max(0, -(-entry.reg.size // PAGE) * PAGE - area.pgoff)
        if reach < area.end and held.clip(max(area.start, reach), area.end):
            yield f"it has pages of the area at {area.start:#x} behind the end of its file, which had {entry.reg.size} bytes"


def _unmapped(layer: Layer, mapped: Sequence[vma_entry], pid: int) -> Iterator[str]:
    for area in mapped:
        if not area.status & _FILE_STATUS or area.status & (VmaStatus.SOCKET | VmaStatus.MEMFD):
            continue
        whose = f"the area at {area.start:#x} of {pid}"
        if area.shmid not in layer.files:
            yield f"has no entry {area.shmid} for {whose}"
        elif not layer.files[area.shmid].HasField("reg"):
            yield f"its entry {area.shmid} for {whose} is no file"
