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
from lamina.core.image.schema import pstree_entry
from lamina.core.image.sessions import plan_memberships
from lamina.core.image.shared_tables import Relative
from lamina.core.kinds.table import ATTRIBUTES, DESCRIPTORS
from lamina.core.kinds.task.ids import foreign_namespaces, shared_objects
from lamina.core.objects.file_records import unsupported
from lamina.core.objects.layer_files import reachable
from lamina.core.objects.task_kind import TaskRecord, ThreadRecord
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
        yield from _several(layer, f"ids-{pid}.img", foreign_namespaces(layer.inventory.root_ids, entry))
    yield from _several(layer, "pstree.img", shared_objects([Relative(it.pid, it.ppid, it.sid) for it in living], kernel_ids))
    for task in living:
        tids = task.threads or (task.pid,)
        record = TaskRecord(task.pid, tids, layer.core(task.pid), layer.mm(task.pid), layer.fs(task.pid))
        for image in ("core", "mm", "fs"):
            yield from _several(layer, f"{image}-{task.pid}.img", ATTRIBUTES.task_unsupported(record, image))
        for tid in tids:
            thread = ThreadRecord(tid, layer.core(tid), record)
            yield from _several(layer, f"core-{tid}.img", ATTRIBUTES.thread_unsupported(thread))


def _finding(layer: Layer, file: str, why: str, fix: str = _CRIU) -> Finding:
    return Finding.of(layer, file, why, Severity.UNSUPPORTED, fix)


def _several(layer: Layer, file: str, sentences: Iterable[str]) -> Iterator[Finding]:
    return some(layer, file, sentences, Severity.UNSUPPORTED, _CRIU)


def images(layer: Layer) -> Iterator[Finding]:
    """What *layer* as a whole holds beyond what is put back. Images of namespaces are not here: see `foreign_namespaces`."""
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
