"""What only the layer itself needs: its tasks, their threads, areas and descriptors, and whether all that they refer to is there."""

from collections.abc import Iterator

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image.findings import Finding
from lamina.core.image.format import TaskState, VmaStatus
from lamina.core.image.layer import Layer
from lamina.core.image.schema import fd_types, file_entry, mm_entry
from lamina.core.image.supplement import problems
from lamina.core.image.verify.collect import first, pages

_FILE_STATUS = VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED
# The field of files.img that holds the record of each type of file.
_FIELD = {
    fd_types.REG: "reg", fd_types.PIPE: "pipe", fd_types.FIFO: "fifo", fd_types.INETSK: "isk", fd_types.UNIXSK: "usk",
    fd_types.EVENTFD: "efd", fd_types.EVENTPOLL: "epfd", fd_types.INOTIFY: "ify", fd_types.SIGNALFD: "sgfd",
    fd_types.PACKETSK: "psk", fd_types.TTY: "tty", fd_types.FANOTIFY: "ffy", fd_types.NETLINKSK: "nlsk", fd_types.NS: "nsf",
    fd_types.TUNF: "tunf", fd_types.EXT: "ext", fd_types.TIMERFD: "tfd", fd_types.MEMFD: "memfd", fd_types.BPFMAP: "bpf",
    fd_types.PIDFD: "pidfd",
}  # fmt: skip


def check_tasks(layer: Layer, used: set[str]) -> Iterator[Finding]:
    """What is missing or contradicts itself. The images that were looked at are added to *used*.

    Raises:
        ImageError: an image cannot be read.
    """
    used |= {"inventory.img", "pstree.img"}
    living: list[int] = []
    for task in layer.pstree:
        used |= {f"core-{tid}.img" for tid in task.threads or [task.pid]}
    for task in layer.pstree:
        for tid in task.threads or [task.pid]:
            name = f"core-{tid}.img"
            if not layer.has(name):
                yield Finding.of(layer, name, "missing")
                continue
            core = layer.core(tid)
            if tid == task.pid and not core.HasField("tc"):
                yield Finding.of(layer, name, "it has no task part although it is the leader's")
        if not layer.has(f"core-{task.pid}.img") or layer.core(task.pid).tc.task_state != TaskState.DEAD:
            living.append(task.pid)
    if not living:
        return
    yield from _files(layer, used)
    for pid in living:
        yield from _task(layer, pid, used)
    yield from _terminals(layer, used)
    yield from _supplement(layer, living)


def _supplement(layer: Layer, living: list[int]) -> Iterator[Finding]:
    """What the sidecar says about things that are not there."""
    if layer.sidecar is None:
        return
    threads = [tid for task in layer.pstree for tid in task.threads or [task.pid]]
    areas = {
        pid: [(area.start, area.end) for area in layer.mm(pid).vmas if not area.status & VmaStatus.GUARD]
        for pid in living
        if layer.has(f"mm-{pid}.img")
    }
    sockets = [ident for ident, entry in layer.files.items() if entry.HasField("isk")]
    for why in problems(layer.sidecar.supplement, threads, areas, sockets):
        yield Finding.of(layer, "lamina.json", why)


def _files(layer: Layer, used: set[str]) -> Iterator[Finding]:
    used |= {"files.img"}
    for entry in layer.files.values():
        field = _FIELD.get(entry.type)
        if field is None or not entry.HasField(field):
            yield Finding.of(layer, "files.img", f"its entry {entry.id} has no record of its type {_type(entry)}")


def _type(entry: file_entry) -> str:
    return fd_types.Name(entry.type) if entry.type in fd_types.values() else str(entry.type)


def _terminals(layer: Layer, used: set[str]) -> Iterator[Finding]:
    used |= {"tty-info.img"} if layer.has("tty-info.img") else set()
    for entry in layer.files.values():
        if entry.HasField("tty") and entry.tty.tty_info_id not in layer.tty_info:
            yield Finding.of(layer, "tty-info.img", f"has no entry {entry.tty.tty_info_id} for the terminal {entry.id} of files.img")


def _task(layer: Layer, pid: int, used: set[str]) -> Iterator[Finding]:
    names = [f"{kind}-{pid}.img" for kind in ("ids", "mm", "fs")]
    used |= {*names, layer.map_name(pid)}
    missing = [name for name in (*names, layer.map_name(pid)) if not layer.has(name)]
    yield from (Finding.of(layer, name, "missing") for name in missing)
    if names[0] not in missing:
        yield from _descriptors(layer, pid, layer.ids(pid).files_id, used)
    references: list[tuple[str, int]] = []
    if names[1] not in missing:
        references.append(("the executable", layer.mm(pid).exe_file_id))
    if names[2] not in missing:
        fs = layer.fs(pid)
        references += [("the working directory", fs.cwd_id), ("the root", fs.root_id)]
    for what, number in references:
        if number not in layer.files:
            yield Finding.of(layer, "files.img", f"has no entry {number} for {what} of {pid}")
    if names[1] not in missing:
        yield from _areas(layer, pid, layer.mm(pid))


def _descriptors(layer: Layer, pid: int, files_id: int, used: set[str]) -> Iterator[Finding]:
    name = f"fdinfo-{files_id}.img"
    used |= {name}
    if not layer.has(name):
        # CRIU takes it for "no descriptors" and restores without any.
        yield Finding.of(layer, name, "missing")
        return
    entries = layer.fdinfo(files_id)
    if len({entry.fd for entry in entries}) != len(entries):
        yield Finding.of(layer, name, "a descriptor occurs twice")
    for entry in entries:
        if entry.id not in layer.files or layer.files[entry.id].type != entry.type:
            yield Finding.of(layer, "files.img", f"has no entry {entry.id} for descriptor {entry.fd} of {pid}")


def _areas(layer: Layer, pid: int, mm: mm_entry) -> Iterator[Finding]:
    # CRIU keeps guard regions as areas of their own, at the end of the list.
    areas = [area for area in mm.vmas if not area.status & VmaStatus.GUARD]
    starts = np.array([area.start for area in areas], dtype=np.uint64)
    ends = np.array([area.end for area in areas], dtype=np.uint64)
    if (starts % PAGE).any() or (ends % PAGE).any() or (ends <= starts).any() or (starts[1:] < ends[:-1]).any():
        yield Finding.of(layer, f"mm-{pid}.img", "its areas are not in order")
        return
    for area in areas:
        if area.status & _FILE_STATUS and not area.status & VmaStatus.SOCKET and area.shmid not in layer.files:
            yield Finding.of(layer, "files.img", f"has no entry {area.shmid} for the area at {area.start:#x} of {pid}")
        shared = area.status & VmaStatus.ANON_SHARED and not area.status & (_FILE_STATUS | VmaStatus.SYSVIPC)
        if shared and f"shmem-{area.shmid}" not in layer.objects:
            yield Finding.of(layer, f"pagemap-shmem-{area.shmid}.img", f"missing; it is the memory of the area at {area.start:#x} of {pid}")
    if layer.has(layer.map_name(pid)):
        outside = layer.pagemap(pid).all - PageRuns.from_arrays(starts, ends)
        if outside:
            lie = "lies" if outside.pages == 1 else "lie"
            yield Finding.of(layer, f"pagemap-{pid}.img", f"{pages(outside.pages)} {lie} in no area ({first(outside)})")
