"""What waits in the queue of a unix socket: messages, who sent them, and descriptors in flight with them (unix(7), SCM_RIGHTS)."""

import array
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.schema import scm_entry, sk_packet_entry, sk_ucred_entry
from lamina.core.kinds.sockets.options import SO_BUF_LOCK, SO_SNDBUFFORCE
from lamina.core.objects.kind import CapturedFile, Opening, Records, Saving

SK_QUEUES: Final = "sk-queues"
_RIGHTS: Final = 1  # SCM_RIGHTS
_MOST_RIGHTS: Final = 253  # SCM_MAX_FD
_PID_LIMIT: Final = 1 << 22  # PID_MAX_LIMIT
_NOBODY: Final = 0xFFFFFFFF  # an id that nobody can have
_UCRED: Final = struct.Struct("=iII")
_ROOM: Final = 1 << 20
_OVERHEAD: Final = 4096  # more than the kernel charges for the smallest message
_MOST_ROOM: Final = 1 << 29

Sender = tuple[int, int, int]
"""pid, uid, gid (SCM_CREDENTIALS)."""
Packet = tuple[sk_packet_entry, bytes]


@dataclass(frozen=True)
class Message:
    """One message; of a stream, what one writer wrote, or what came together with descriptors.

    Attributes:
        sender: None if it does not say.
        fds: the descriptors in flight with it, copies of ours.
    """

    content: bytes
    sender: Sender | None = None
    fds: tuple[int, ...] = ()


def read(sockets: Sequence[tuple[int, bool]]) -> list[tuple[Message, ...]]:
    """The queues of sockets of frozen processes, each (a copy of its descriptor, is it a stream); nothing is consumed (`lm_queues_read`).

    Raises:
        NativeError: one cannot be read.
    """
    queues, err = ffi.new("lm_queue[]", len(sockets)), new_error()
    fds, streams = (ffi.new("int32_t[]", [int(value) for value in column]) for column in zip(*sockets, strict=True))
    check(C.lm_queues_read(fds, streams, len(sockets), queues, err), err)
    try:
        return [tuple(_messages(queue)) for queue in queues]
    finally:
        for number in range(len(sockets)):
            C.lm_queue_free(queues + number)


def _messages(queue: Any) -> Iterator[Message]:
    for it in queue.messages[0 : queue.message_count]:
        yield Message(
            ffi.buffer(queue.bytes + it.at, it.length)[:] if it.length else b"",
            (it.pid, it.uid, it.gid) if it.pid else None,
            tuple(queue.fds[it.first_fd : it.first_fd + it.fd_count]) if it.fd_count else (),
        )


def charged(sock: socket.socket) -> int:
    """Bytes that the kernel charges a socket for what it has sent and nobody has read (SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), "little")


def waiting(sock: socket.socket) -> int:
    """Bytes in the queue (SIOCINQ); of datagrams those of the first."""
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), "little")


@cache
def _charge(kind: int, length: int) -> int:
    """What one message of that length costs its sender."""
    ours, other = socket.socketpair(socket.AF_UNIX, kind)
    with ours, other:
        make_room(ours, length)
        ours.send(bytes(length))
        return charged(ours)


def passed_over(messages: Sequence[Message], kind: int, sent: int) -> int:
    """How many empty datagrams a look at the queue has passed over, because somebody had peeked at them before; *sent*: `charged` of
    the only one who can have sent them.
    """
    known = sum(_charge(kind, len(message.content)) for message in messages)
    return max(sent - known, 0) // _charge(kind, 0)


def save(file: CapturedFile, messages: Sequence[Message], ident: int, saving: Saving) -> None:
    """Record the queue of description *ident*."""
    held = iter(file.held)
    for message in messages:
        record = sk_packet_entry(id_for=ident, length=len(message.content))
        if message.fds:
            record.scm.append(scm_entry(type=_RIGHTS, rights=[saving.ident(next(held)) for _ in message.fds]))
        if message.sender:
            record.ucred.CopyFrom(sk_ucred_entry(pid=message.sender[0], uid=message.sender[1], gid=message.sender[2]))
        saving.put(SK_QUEUES, record, message.content)


_QUEUES: WeakKeyDictionary[Records, dict[int, list[Packet]]] = WeakKeyDictionary()


def packets(ident: int, layer: Records) -> Sequence[Packet]:
    """The queue of description *ident* in a layer."""
    if layer not in _QUEUES:
        queues: dict[int, list[Packet]] = {}
        for record, content in layer.records(SK_QUEUES):
            queues.setdefault(record.id_for, []).append((record, content))
        _QUEUES[layer] = queues
    return _QUEUES[layer].get(ident, ())


def rights(ident: int, layer: Records) -> list[int]:
    """Ids of the descriptions in flight in that queue."""
    return [right for record, _ in packets(ident, layer) for scm in record.scm for right in scm.rights]


def damage(layer: Records, files: dict[int, Any]) -> Iterator[str]:
    """What sk-queues.img cannot say. *files*: the descriptions of the layer, by id."""
    for record, _ in layer.records(SK_QUEUES):
        if record.id_for not in files or not files[record.id_for].HasField("usk"):
            yield f"it has a message for file {record.id_for}, which is no unix socket"
        if sum(len(scm.rights) for scm in record.scm) > _MOST_RIGHTS:
            yield f"a message for file {record.id_for} has more than {_MOST_RIGHTS} descriptors in flight"
        if record.HasField("ucred"):
            sender = record.ucred
            if not 0 < sender.pid < _PID_LIMIT or _NOBODY in (sender.uid, sender.gid):
                yield f"a message for file {record.id_for} is from process {sender.pid}, user {sender.uid}, group {sender.gid}"
        for scm in record.scm:
            if scm.type != _RIGHTS or not scm.rights:
                yield f"a message for file {record.id_for} has {len(scm.rights)} objects of type {scm.type} in flight"
            yield from (
                f"a message for file {record.id_for} has file {right} in flight, which the layer does not have"
                for right in scm.rights
                if right not in files
            )


@cache
def pid_limit() -> int:
    """Pids are below this (kernel.pid_max)."""
    return int(Path("/proc/sys/kernel/pid_max").read_text())


def make_room(sock: socket.socket, size: int, messages: int = 1) -> None:
    """Let a socket send that much without blocking, whatever the usual limit is."""
    wanted = min(2 * size + messages * _OVERHEAD + _ROOM, _MOST_ROOM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, wanted)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wanted)


def fill(sock: socket.socket, ident: int, opening: Opening, with_senders: bool) -> None:
    """Send the queue of description *ident* from its new peer *sock*; *with_senders*: the processes exist.

    Raises:
        OSError: it cannot be sent, or does not fit.
    """
    queue = packets(ident, opening)
    if not queue:
        return
    room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    make_room(sock, sum(len(content) for _, content in queue), len(queue))
    for record, content in queue:
        control: list[tuple[int, int, Any]] = []
        fds = array.array("i", [opening.fd(right) for scm in record.scm for right in scm.rights])
        if fds:
            control.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, fds))
        if with_senders and record.HasField("ucred"):
            sender = record.ucred
            control.append((socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _UCRED.pack(sender.pid, sender.uid, sender.gid)))
            with _existing(sender.pid):
                _send(sock, content, control)
        else:
            _send(sock, content, control)
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, room // 2)
    sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)


def _send(sock: socket.socket, content: bytes, control: Sequence[tuple[int, int, Any]]) -> None:
    sent = sock.sendmsg([content], control, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    while sent < len(content):
        part = sock.send(content[sent:], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if not part:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        sent += part


@contextmanager
def _existing(pid: int) -> Iterator[None]:
    """While there is a process of that number: the kernel lets nobody send in the name of one that there is not."""
    if os.path.lexists(f"/proc/{pid}"):
        yield
        return
    err = new_error()
    check(C.lm_stand_in(pid, err), err)
    try:
        yield
    finally:
        os.waitpid(pid, 0x40000000)  # __WALL
