"""What is whole and no restore of ours puts back: told by `verify`, refused by restore, in the same words. criu may know it.

Nothing is left out in silence: an image is opened by whoever needs it, so a restore that knows nothing of file locks or queued data would
leave them out, and nobody would notice.
"""

from collections.abc import Iterable, Iterator
from types import MappingProxyType
from typing import Final

from lamina.core.image import format as fmt
from lamina.core.image.format import TaskState
from lamina.core.image.layer import Layer
from lamina.core.image.records import areas, tasks, threads
from lamina.core.image.schema import pstree_entry, task_kobj_ids_entry
from lamina.core.image.sessions import plan_memberships
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.file_records import unsupported
from lamina.core.objects.layer_files import reachable
from lamina.core.verify.collect import some
from lamina.core.verify.findings import Finding, Severity

_CONTENTS: Final = MappingProxyType(
    {
        "filelocks": "locks on files",
        "ghost-file": "a file that was deleted while it was open",
        "remap-fpath": "names of files that were deleted while they were open",
        "fifo-data": "data waiting in a named pipe",
        "sk-queues": "data waiting in sockets",
        "tcp-stream": "data of a TCP connection",
        "tty-data": "characters waiting in a terminal",
        "memfd": "memory files (memfd)",
        "bpfmap-data": "BPF maps",
        "apparmor": "AppArmor policies",
    }
)
"""Kind of image → what is in it. What a kind of descriptor reads is put back."""
_HEAD: Final = 8
"""Bytes of an image that holds nothing."""
_RELEASED: Final = "dump when the program has released it"
_CRIU: Final = "restore it with criu"
_NAMESPACES: Final = ("pid_ns", "net_ns", "ipc_ns", "uts_ns", "mnt_ns", "user_ns", "cgroup_ns", "time_ns")
_OBJECTS: Final = ("vm", "files", "fs", "sighand")


def check_unsupported(layer: Layer) -> Iterator[Finding]:
    """Everything of *layer*, which has no damage, that is not put back.

    Raises:
        ImageError: an image cannot be read.
    """
    yield from images(layer)
    root = layer.pstree[0]
    if layer.core(root.pid).tc.task_state == TaskState.DEAD:
        yield _finding(layer, f"core-{root.pid}.img", "the root of the tree had already exited")
        return
    yield from _several(layer, "pstree.img", _sessions(layer.pstree))
    living = [task for task in layer.pstree if layer.core(task.pid).tc.task_state != TaskState.DEAD]
    yield from _several(layer, "files.img", _files(layer, living))
    kernel_ids = {task.pid: layer.ids(task.pid) for task in living}
    for pid, entry in kernel_ids.items():
        yield from _several(layer, f"ids-{pid}.img", namespaces(layer.inventory.root_ids, entry))
    yield from _several(layer, "pstree.img", shared(kernel_ids))
    for task in living:
        yield from _several(layer, f"core-{task.pid}.img", tasks.unsupported(layer.core(task.pid).tc))
        for tid in task.threads or (task.pid,):
            yield from _several(layer, f"core-{tid}.img", threads.unsupported(layer.core(tid)))
        mm = layer.mm(task.pid)
        yield from _several(layer, f"mm-{task.pid}.img", areas.unsupported(mm.vmas))
        if mm.aios:
            yield _finding(
                layer, f"mm-{task.pid}.img", "it has rings for asynchronous input and output (io_setup), which are not supported"
            )


def _finding(layer: Layer, file: str, why: str, fix: str = _CRIU) -> Finding:
    return Finding.of(layer, file, why, Severity.UNSUPPORTED, fix)


def _several(layer: Layer, file: str, sentences: Iterable[str]) -> Iterator[Finding]:
    return some(layer, file, sentences, Severity.UNSUPPORTED, _CRIU)


def images(layer: Layer) -> Iterator[Finding]:
    """What *layer* as a whole holds beyond what is put back. Images of namespaces are not here: see `namespaces`."""
    plugins = layer.inventory.plugins_entry.plugins
    if plugins:
        yield _finding(layer, "inventory.img", f"it was dumped with criu's plugin {', '.join(plugins)}, whose part cannot be put back")
    read = {name for kind in DESCRIPTORS for name in kind.images}
    for name in layer.names():
        kind = fmt.kind_of_file(name)
        if kind is None or kind.name not in _CONTENTS or kind.name in read:
            continue
        info = layer.info(name)
        if info and info.size > _HEAD:
            yield _finding(layer, name, f"{_CONTENTS[kind.name]}: not supported yet", _RELEASED)


def _sessions(entries: tuple[pstree_entry, ...]) -> Iterator[str]:
    """What stands in the way whether or not the tree becomes a shell's job."""
    found = [dict.fromkeys(str(it) for it in plan_memberships(entries, job).blockers) for job in (False, True)]
    yield from (why for why in found[0] if why in found[1])


def _files(layer: Layer, living: Iterable[pstree_entry]) -> Iterator[str]:
    """Open file descriptions, each by the first descriptor that names it."""
    ids = {tid for task in layer.pstree for tid in (task.pid, *task.threads)}
    users: dict[int, str] = {}
    for task in living:
        for entry in layer.fdinfo(layer.ids(task.pid).files_id):
            users.setdefault(entry.id, f"descriptor {entry.fd} of process {task.pid}")
    for ident in reachable(users, lambda entry: DESCRIPTORS.held_by(entry, layer), layer.files):
        name = users.get(ident, f"file {ident}, which is in flight,")
        for why in unsupported(layer.files[ident], ids, DESCRIPTORS, in_flight=ident not in users):
            yield f"{name} {why}"


def namespaces(root: task_kobj_ids_entry, entry: task_kobj_ids_entry) -> Iterator[str]:
    """Namespaces of its own, by the ids of a task and those of the tool that dumped it."""
    for name in _NAMESPACES:
        field = f"{name}_id"
        both = entry.HasField(field) and root.HasField(field)
        if both and getattr(entry, field) != getattr(root, field):
            yield f"it had a {name.removesuffix('_ns')} namespace of its own, which is not supported"


def shared(by_pid: dict[int, task_kobj_ids_entry]) -> Iterator[str]:
    """Objects that two processes share (clone with CLONE_VM, CLONE_FILES and so on)."""
    for name in _OBJECTS:
        owners: dict[int, int] = {}
        for pid, entry in by_pid.items():
            owner = owners.setdefault(getattr(entry, f"{name}_id"), pid)
            if owner != pid:
                yield f"process {pid} shares its {name} with process {owner}: such sharing is not supported"
