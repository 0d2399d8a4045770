"""A layer as one side of a comparison: everything from its images."""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from google.protobuf.message import Message
from typing_extensions import override

from lamina.core.errors import ImageError
from lamina.core.image.format import TaskState
from lamina.core.image.layer import Layer, Object
from lamina.core.image.owners import resolve
from lamina.core.image.schema import core_entry, fd_types, fdinfo_entry, file_entry, inet_sk_entry, pstree_entry
from lamina.core.inspect.areas import MemoryArea, area_of_entry
from lamina.core.inspect.diff.descriptors import Descriptor
from lamina.core.inspect.diff.pages import PagesOfLayer
from lamina.core.inspect.diff.sides import Side
from lamina.core.inspect.diff.tasks import Task, Thread
from lamina.core.inspect.image_areas import ImageFiles, entries_of
from lamina.core.objects.named_file import path_of
from lamina.core.objects.rawfd import ONCE

LARGE_FILE: Final = 0o100000  # asm-generic/fcntl.h: set by the kernel, shown or not by its version
ACTING_ONCE: Final = ONCE | LARGE_FILE
KIND_WORDS: Final = {
    fd_types.REG: "file", fd_types.PIPE: "pipe", fd_types.FIFO: "fifo", fd_types.INETSK: "socket", fd_types.UNIXSK: "socket",
    fd_types.PACKETSK: "socket", fd_types.NETLINKSK: "socket", fd_types.EVENTFD: "eventfd", fd_types.EVENTPOLL: "epoll",
    fd_types.INOTIFY: "inotify", fd_types.SIGNALFD: "signalfd", fd_types.FANOTIFY: "fanotify", fd_types.TTY: "terminal",
    fd_types.NS: "namespace", fd_types.TUNF: "tun", fd_types.EXT: "external", fd_types.TIMERFD: "timerfd", fd_types.MEMFD: "memfd",
    fd_types.BPFMAP: "bpf map", fd_types.PIDFD: "pidfd",
}  # fmt: skip
_STATES: Final = {TaskState.DEAD: "ended", TaskState.STOPPED: "stopped"}
_TCP_LISTEN: Final = 10  # include/net/tcp_states.h


class LayerSide(Side):
    """A layer, through its parents."""

    def __init__(self, layer: Layer, beside: "LayerSide | None" = None) -> None:
        """*beside* is the other side: common ancestors are read once.

        Raises:
            ImageError: its tree, or a parent, cannot be read.
        """
        known: dict[tuple[object, ...], Layer] = {it.key: it for it in beside.chain} if beside else {}
        self.name = str(layer.path)
        self.chain: tuple[Layer, ...] = tuple(known.get(it.key, it) for it in layer.chain())
        self.layer = layer = self.chain[0]
        if layer.is_pre_dump:
            self.tasks = tuple(Task(pid, state="") for pid in layer.pids)
            self.notes = (f"{self.name} is {layer.memory_only}",)
        else:
            self.tasks = tuple(self._task(task) for task in layer.pstree)

    # -- tasks -----------------------------------------------------------------------------------------------------------------------

    def _task(self, entry: pstree_entry) -> Task:
        layer, pid = self.layer, entry.pid
        core = layer.core(pid)
        state = _STATES.get(TaskState(core.tc.task_state), "alive") if core.tc.task_state in list(TaskState) else "alive"
        comm = os.fsdecode(core.tc.comm)
        if state == "ended":
            return Task(pid, entry.ppid, entry.pgid, entry.sid, comm, state)
        fs = layer.fs(pid)
        threads = tuple(self._thread(tid, comm) for tid in entry.threads or [pid])
        return Task(
            pid, entry.ppid, entry.pgid, entry.sid, comm, state,
            exe=self._path(layer.mm(pid).exe_file_id), cwd=self._path(fs.cwd_id), root=self._path(fs.root_id), threads=threads,
        )  # fmt: skip

    def _thread(self, tid: int, comm: str) -> Thread:
        core = self.layer.core(tid)
        registers, vectors = _registers(core)
        own = core.thread_core.comm if core.HasField("thread_core") else b""
        return Thread(tid, os.fsdecode(own) or comm, registers, vectors)

    def _path(self, ident: int) -> str:
        entry = self.layer.files.get(ident)
        return path_of(entry.reg) if entry is not None and entry.HasField("reg") else ""

    def _dead(self, pid: int) -> bool:
        return any(task.pid == pid and task.state == "ended" for task in self.tasks)

    # -- descriptors and areas -------------------------------------------------------------------------------------------------------

    @override
    def descriptors(self, pid: int) -> tuple[Descriptor, ...] | None:
        if self.layer.is_pre_dump or self._dead(pid):
            return None
        found = []
        for entry in self.layer.fdinfo(self.layer.ids(pid).files_id):
            file = self.layer.files.get(entry.id)
            if file is None:
                raise ImageError("damaged image", str(self.layer.file("files.img")), f"has no entry {entry.id} for descriptor {entry.fd}")
            found.append(self._descriptor(entry, file))
        return tuple(sorted(found, key=lambda it: it.fd))

    def _descriptor(self, entry: fdinfo_entry, file: file_entry) -> Descriptor:
        what, offset, detail, flags = "", None, "", 0
        for field, value in file.ListFields():
            if isinstance(value, Message) and "flags" in value.DESCRIPTOR.fields_by_name and field.name != "fifo":
                flags = int(getattr(value, "flags"))  # noqa: B009  # not every kind has it: mypy cannot know
        if file.HasField("reg"):
            what, offset = path_of(file.reg), file.reg.pos
        elif file.HasField("isk"):
            what = _addresses(file.isk)
        elif file.HasField("usk"):
            what = "unix " + (os.fsdecode(file.usk.name).replace("\0", "@", 1) or "without a name")
        elif file.HasField("tty"):
            what = self._path(file.tty.regf_id)
        elif file.HasField("fifo"):
            what = self._path(file.fifo.regf_id)
        elif file.HasField("efd"):
            detail = f"counter {file.efd.counter}"
        elif file.HasField("epfd"):
            detail = f"watches {len(file.epfd.tfd)}"
        kind = KIND_WORDS.get(entry.type, f"type {entry.type}")
        return Descriptor(entry.fd, kind, what, offset, flags & ~ACTING_ONCE, bool(entry.flags & 1), detail)

    @override
    def areas(self, pid: int) -> tuple[MemoryArea, ...] | None:
        if self.layer.is_pre_dump or self._dead(pid):
            return None
        files = ImageFiles(self.layer, pid)
        return tuple(area_of_entry(entry, files.path(entry)) for entry in entries_of(self.layer, pid))

    # -- pages -----------------------------------------------------------------------------------------------------------------------

    @override
    def pages_of(self, which: Object) -> PagesOfLayer | None:
        return PagesOfLayer(resolve(self.chain, which)) if which in self.layer.objects else None

    @property
    @override
    def shared(self) -> tuple[str, ...]:
        return tuple(which for which in self.layer.objects if isinstance(which, str))


def _registers(core: core_entry) -> tuple[dict[str, int], bytes]:
    """General purpose registers by name, and the bytes of all others, of whatever architecture it is."""
    for _, info in core.ListFields():
        if not isinstance(info, Message) or "gpregs" not in info.DESCRIPTOR.fields_by_name:
            continue
        general = dict(_numbers(getattr(info, "gpregs")))  # noqa: B009  # a field of some of the messages
        general.pop("mode", None)
        rest = [value.SerializeToString(deterministic=True) for other, value in info.ListFields()
                if isinstance(value, Message) and other.name != "gpregs"]  # fmt: skip
        return general, b"".join(rest)
    return {}, b""


def _numbers(registers: Message) -> Iterator[tuple[str, int]]:
    for field, value in registers.ListFields():
        if isinstance(value, int):
            yield field.name, value
        elif not isinstance(value, (bytes, str, Message)):
            yield from ((f"{field.name}[{at}]", number) for at, number in enumerate(value) if isinstance(number, int))


def _addresses(entry: inet_sk_entry) -> str:
    """As `ss` shows it: protocol, own address, and "listening" or the other end's."""
    protocol = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}.get(entry.proto, f"protocol {entry.proto}")
    own = _address(entry.family, list(entry.src_addr), entry.src_port)
    if entry.proto == socket.IPPROTO_TCP and entry.state == _TCP_LISTEN:
        return f"{protocol} {own} listening"
    return f"{protocol} {own} - {_address(entry.family, list(entry.dst_addr), entry.dst_port)}" if entry.dst_port else f"{protocol} {own}"


def _address(family: int, words: list[int], port: int) -> str:
    try:
        text = socket.inet_ntop(family, struct.pack(f"<{len(words)}I", *words))
    except (OSError, ValueError, struct.error):
        text = "?"
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
