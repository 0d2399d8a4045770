"""Real processes that own descriptors, and the way of those through a layer into another real process.

Handshake: a process stops itself when it is ready, and its parent waits for that stop. No descriptor is spent on it.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamina.core.attach.calls import SYSCALL_NUMBERS, CallList, DataRef
from lamina.core.attach.identity import identify
from lamina.core.dirty.held import Whose, held_uffds
from lamina.core.image.format import encode_image
from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry, inventory_entry, pstree_entry, task_core_entry, task_kobj_ids_entry
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import Sidecar, new_layer_id
from lamina.core.image.supplement import Supplement
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects import capture as descriptors
from lamina.core.objects.file_table import FileTable
from lamina.core.objects.opening import OpenOptions, open_descriptions

PRELUDE = """
import os, signal, sys, socket, select, fcntl, time
def ready():
    os.kill(os.getpid(), signal.SIGSTOP)
def stay():
    ready()
    while True:
        signal.pause()
"""

# Makes the calls it is given, with nothing open, and stays.
RUNNER = """
import ctypes, os, pickle, signal, sys
calls, blob, refs = pickle.load(open(sys.argv[1], "rb"))
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(blob, len(blob) + 1)
os.closerange(0, 4096)
for name, number, args, expect in calls:
    values = [ctypes.addressof(buffer) + a[0] if isinstance(a, tuple) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in values))
    if result < 0 or (expect is not None and result != expect):
        errno = ctypes.get_errno()
        fd = os.open(sys.argv[1] + ".failed", os.O_WRONLY | os.O_CREAT)
        os.write(fd, f"{name}{args} gave {result}, errno {errno}, not {expect}".encode())
        os._exit(1)
os.kill(os.getpid(), signal.SIGSTOP)
while True:
    signal.pause()
"""


def wait_stopped(pid: int) -> None:
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"process {pid} ended with {os.waitstatus_to_exitcode(status)}"


@contextmanager
def victim(code: str, *args: object, popen: dict[str, Any] | None = None, prelude: str = PRELUDE) -> Iterator[int]:
    """A stopped Python process that has run *code* up to its `ready()` or `stay()`; killed at the end, with what it started."""
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL) | {"start_new_session": True}
    streams |= popen or {}
    process = subprocess.Popen([sys.executable, "-S", "-c", prelude + code, *map(str, args)], **streams)
    try:
        wait_stopped(process.pid)
        yield process.pid
    finally:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def let_go(pid: int) -> None:
    """Let a stopped victim run on. It is no longer stopped when kill(2) returns."""
    os.kill(pid, signal.SIGCONT)


def write_layer(directory: Path, pids: Sequence[int]) -> Layer:
    """A layer with the descriptors of stopped processes, read back."""
    table = FileTable()
    ids = {pid: n + 2 for n, pid in enumerate(pids)}
    with descriptors.capture(list(pids), DESCRIPTORS) as captured:
        images = descriptors.save(captured, table, ids)
    images |= table.images()
    directory.mkdir(mode=0o700)
    for name, (kind, records) in images.items():
        (directory / f"{name}.img").write_bytes(encode_image(kind, records))
    tasks = []
    for n, pid in enumerate(pids):
        tasks.append(pstree_entry(pid=pid, ppid=pids[0] if n else 0, pgid=pid, sid=pid, threads=[pid]))
        core = task_core_entry(task_state=1, exit_code=0, personality=0, flags=0, blk_sigset=0, comm=b"victim")
        (directory / f"core-{pid}.img").write_bytes(encode_image("core", [core_entry(mtype=core_entry.X86_64, tc=core)]))
        own = task_kobj_ids_entry(vm_id=ids[pid], files_id=ids[pid], fs_id=ids[pid], sighand_id=ids[pid])
        (directory / f"ids-{pid}.img").write_bytes(encode_image("ids", [own]))
    (directory / "pstree.img").write_bytes(encode_image("pstree", tasks))
    (directory / "inventory.img").write_bytes(encode_image("inventory", [inventory_entry(img_version=2)]))
    if table.supplements:
        (directory / SIDECAR).write_bytes(Sidecar(new_layer_id(), supplement=Supplement(files=table.supplements)).to_json().encode())
    return Layer(directory)


@contextmanager
def run_calls(calls: CallList, script: Path) -> Iterator[int]:
    """A process in which the calls have been made; stopped."""
    plain = [
        (call.name, SYSCALL_NUMBERS[call.name], [(a.offset,) if isinstance(a, DataRef) else a for a in call.args], call.expect)
        for call in calls.calls
    ]
    script.write_bytes(pickle.dumps((plain, bytes(calls.blob), None)))
    with victim("", script, prelude=RUNNER) as pid:
        yield pid


def failed(script: Path) -> str:
    path = Path(f"{script}.failed")
    return path.read_text() if path.exists() else ""


@contextmanager
def rebuilt(layer: Layer, options: OpenOptions | None = None) -> Iterator[dict[int, int]]:
    """The tasks of a layer as new processes that have its descriptors and nothing else: old pid → new pid."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        opened = open_descriptions(layer, DESCRIPTORS, options)
        with opened:
            new = {}
            opened.remake({})
            for pid in layer.pids:
                calls = CallList()
                opened.install(pid, calls)
                opened.share(pid, calls)
                opened.finish(pid, calls)
                script = layer.path / f"calls-{pid}"
                try:
                    new[pid] = stack.enter_context(run_calls(calls, script))
                except AssertionError as error:
                    raise AssertionError(failed(script)) from error
        yield new


def roundtrip(tmp_path: Path, code: str, *args: object, check: Callable[[int], None] | None = None) -> Any:
    """Save a victim's descriptors, end it, rebuild them in another process; returns how both look."""
    with victim(code, *args) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
        before = portrait(pid)
    with rebuilt(layer) as new:
        if check:
            check(new[pid])
        return before, portrait(new[pid])


def portrait(*pids: int) -> list[dict[str, Any]]:
    """Everything about the descriptors of processes that a restore must keep; inode numbers become ordinals."""
    inodes: dict[int, int] = {}
    own = {held.ino for pid in pids for held in held_uffds(identify(pid)) if held.whose is not Whose.FOREIGN}
    with descriptors.capture(pids, DESCRIPTORS, own) as captured:
        found = []
        for slot in (slot for pid in pids for slot in captured.tables[pid]):
            file = captured.files[slot.file]
            raw = file.raw
            look: dict[str, Any] = {"pid": pids.index(slot.raw.pid)}
            look |= {"fd": slot.fd, "cloexec": slot.cloexec, "file": slot.file, "kind": file.kind.name}
            look |= {"flags": raw.flags, "pos": raw.pos, "owner": raw.owner, "pipe_size": raw.pipe_size}
            if ":[" in raw.link:
                look["object"] = (raw.link.partition("[")[0], inodes.setdefault(raw.ino, len(inodes)))
            else:
                look["link"] = raw.link
            # An epoll lists its registrations in the order of kernel addresses.
            look["lines"] = sorted(
                (key, text.partition("ino:")[0]) for key, text in raw.lines if key not in ("mnt_id", "ino", "flags", "eventfd-id")
            )
            extra = file.extra
            look["extra"] = extra.content() if hasattr(extra, "content") else extra
            found.append(look)
        return found
