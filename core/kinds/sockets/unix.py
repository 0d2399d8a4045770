"""Unix sockets (unix(7)) of socketpair(2), and such as are connected to nobody: queues, options, shut-down halves, who made them.

Both ends are in the tree, or one of them is gone. Sockets that are reached by a name (bound, listening, connected by name) are named and
refused. An end is known by its inode; which belong together tells sock_diag(7).
"""

import errno
import os
import re
import select
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import describe, read_status
from lamina.core.errors import Blocker, NativeError
from lamina.core.image.schema import fd_types, file_entry, sk_opts_entry, sk_shutdown, unix_sk_entry
from lamina.core.image.supplement import Value, Values
from lamina.core.kinds.sockets import options, unix_queue
from lamina.core.kinds.sockets.diag import SocketDiag, attributes
from lamina.core.kinds.sockets.unix_queue import SK_QUEUES, Message
from lamina.core.objects.holders import ObjectHolders
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Key, Opening, Records, Saving, TaskHands, TreeView
from lamina.core.objects.layer_files import LayerFiles, Tables
from lamina.core.objects.rawfd import Holders, RawFd, grab

SOL: Final = socket.SOL_SOCKET
SO_PEERCRED, SO_PEERGROUPS, SO_PEERPIDFD = 17, 59, 77
_UCRED: Final = struct.Struct("=iII")
_TYPES: Final = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
_CONNECTED, _CLOSED, _LISTENING = 1, 7, 10  # net/tcp_states.h: TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN
_STATES: Final = (_CONNECTED, 2, _CLOSED, _LISTENING)
# struct unix_diag_req and unix_diag_msg (linux/unix_diag.h); the attributes, and UDIAG_SHOW_PEER.
_REQUEST: Final = struct.Struct("=BBHIIIII")
_ANSWER: Final = struct.Struct("=BBBBIII")
_PEER, _SHUTDOWN, _SHOW_PEER = 2, 6, 4
# What the kernel chooses if a socket that asks for senders (SO_PASSCRED) sends without having a name (net/unix/af_unix.c, unix_autobind).
_CHOSEN_NAME: Final = re.compile(rb"\0[0-9a-f]{5}")
_IDS: Final = range((1 << 32) - 1)
_GROUPS: Final = re.compile(r"\d{1,10}(,\d{1,10}){0,255}")
_CLOSE: Final = "let it close, then dump"
_SAME: Final = -1 & 0xFFFFFFFF
"""An id that setresuid(2) and setresgid(2) leave as it is."""


@dataclass
class UnixState:
    """What a socket is, asked of a copy of it.

    Attributes:
        refusal: why it cannot be saved, or "": then nothing else is filled.
        peer: inode of the other end; 0 if there is none, `connected` if there was one.
        shutdown: halves that are shut down, 1 for receiving, 2 for sending.
        name: what the kernel chose, or b"".
        values: field of `sk_opts_entry` → value; more: options that it has no field for.
        maker: who made the pair, as (pid, euid, egid, groups); pid 0 if nobody has, or has ended.
        reset: the other end was closed before it had read all, and this one was not told yet (ECONNRESET).
        sent: what the kernel charges for that the other end has not read (SIOCOUTQ).
        copy: a copy of its descriptor, if something waits in it that was not read yet; else -1.
        messages: what waits in it; their descriptors are copies of ours until `claimed`.
    """

    refusal: str = ""
    type: int = 0
    peer: int = 0
    connected: bool = False
    shutdown: int = 0
    name: bytes = b""
    values: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Value] = field(default_factory=dict)
    maker: tuple[int, int, int, str] = (0, 0, 0, "")
    reset: bool = False
    sent: int = 0
    copy: int = -1
    messages: tuple[Message, ...] = ()
    claimed: bool = False

    def content(self) -> dict[str, Any]:
        """Everything about it that stays the same over a restore."""
        messages = [(message.content, message.sender, len(message.fds)) for message in self.messages]
        return {
            "type": self.type, "paired": self.peer != 0, "connected": self.connected, "shutdown": self.shutdown, "name": self.name,
            "values": self.values, "more": self.more, "reset": self.reset, "messages": messages,
        }  # fmt: skip


class UnixDiag(SocketDiag):
    """Asks about unix sockets."""

    def pair(self, ino: int) -> tuple[int, int]:
        """(inode of the peer or 0, halves that are shut down) of a socket. Raises as `SocketDiag.one`."""
        answer = self.one(_REQUEST.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, ino & 0xFFFFFFFF, _SHOW_PEER, 0xFFFFFFFF, 0xFFFFFFFF))
        found = dict(attributes(answer[_ANSWER.size :]))
        return int.from_bytes(found.get(_PEER, b""), "little"), int.from_bytes(found.get(_SHUTDOWN, b""), "little")


def _where(name: bytes | str) -> str:
    return os.fsdecode(name).replace("\0", "@", 1)


def _names(sock: socket.socket) -> tuple[bytes, bytes | None]:
    """Its own name and its peer's; None if it is connected to nobody."""
    peer: bytes | None = None
    with suppress(OSError):
        peer = os.fsencode(sock.getpeername())
    return os.fsencode(sock.getsockname()), peer


def _refusal(sock: socket.socket, own: bytes, peer: bytes | None) -> str:
    if options.get(sock, SOL, socket.SO_ACCEPTCONN):
        return f"a unix socket that listens on {_where(own)}: not supported yet"
    for name, what in ((peer, "connected to"), (own, "bound to")):
        if name and (sock.type == socket.SOCK_STREAM or not _CHOSEN_NAME.fullmatch(name)):
            return f"a unix socket, {what} {_where(name)}: not supported yet"
    if own and peer is None:
        return f"a unix socket, bound to {_where(own)}: not supported yet"
    if options.has_filter(sock):
        return "a unix socket with a packet filter attached"
    return ""


def _maker(sock: socket.socket) -> tuple[int, int, int, str]:
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(SOL, SO_PEERCRED, _UCRED.size))
    if pid <= 0 or not _lives(sock):
        return 0, uid, gid, ""
    groups = b""
    with suppress(OSError):
        groups = sock.getsockopt(SOL, SO_PEERGROUPS, 1024)
    return pid, uid, gid, ",".join(str(group) for (group,) in struct.iter_unpack("=I", groups))


def _lives(sock: socket.socket) -> bool:
    """Whether it is still the process of that number that made the pair (SO_PEERPIDFD, Linux 6.5)."""
    try:
        pidfd = sock.getsockopt(SOL, SO_PEERPIDFD)
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT
    try:
        return "Pid:\t-1\n" not in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    finally:
        os.close(pidfd)


def look(sock: socket.socket, raw: RawFd, diag: UnixDiag, queue: bool) -> UnixState:
    """Everything about a socket, or why it cannot be saved. *queue*: its process is frozen, so what waits in it will be read, too."""
    own, peer = _names(sock)
    if refusal := _refusal(sock, own, peer):
        return UnixState(refusal)
    try:
        other, shutdown = diag.pair(raw.ino)
    except OSError as error:
        why = "the kernel has no unix_diag (CONFIG_UNIX_DIAG)" if error.errno == errno.ENOENT else error.strerror
        return UnixState(f"a unix socket whose other end cannot be found: {why}")
    if other == raw.ino & 0xFFFFFFFF:
        return UnixState("a unix socket that is connected to itself: not supported yet")
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLPRI)
    events = sum(found for _, found in poll.poll(0))
    if events & select.POLLPRI:
        return UnixState("a unix socket with an out-of-band byte (MSG_OOB) waiting: not supported")
    reset = bool(events & select.POLLERR)
    if reset and (sock.type == socket.SOCK_DGRAM or (sock.type == socket.SOCK_SEQPACKET and unix_queue.waiting(sock))):
        return UnixState("a unix socket that has messages, and an error to report before them, which looking at them would take away")
    state = UnixState(
        type=sock.type, peer=other, connected=peer is not None, shutdown=shutdown, name=own, values=options.read(sock),
        more=options.read_more(sock), maker=_maker(sock), reset=reset, sent=unix_queue.charged(sock),
    )  # fmt: skip
    if queue and events & select.POLLIN and not (reset and sock.type != socket.SOCK_STREAM):
        state.copy = os.dup(sock.fileno())
    return state


class UnixSocket(DescriptorKind):
    """A unix socket; only one of a pair, or one that is connected to nobody, can be saved."""

    name = "unix socket"
    type = fd_types.UNIXSK
    field = "usk"
    images = (SK_QUEUES,)
    kept = MappingProxyType(
        options.kept_of(socket.AF_UNIX)
        | {"maker_pid": range(1, 1 << 22), "maker_uid": _IDS, "maker_gid": _IDS, "maker_groups": _GROUPS, "reset": frozenset({1})}
    )
    remade = True
    shared_fds = 2

    def recognise(self, raw: RawFd) -> bool:
        """By its fdinfo: of all sockets these alone tell how many descriptors are in flight to them."""
        return raw.link.startswith("socket:[") and bool(raw.line("scm_fds", ""))

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """One that has a name, or whose other end is held outside the tree: that program would talk to nobody."""
        raw = holders[0]
        try:
            with socket.socket(fileno=grab(view.pidfd(raw.pid), raw.fd)) as sock:
                found = look(sock, raw, view.surroundings.of(self), queue=False)
        except (NativeError, OSError) as error:
            if (error.errnum if isinstance(error, NativeError) else error.errno) in (errno.EBADF, errno.ESRCH):
                return None  # closed while we looked
            return raw.blocker(f"a unix socket that cannot be looked at: {error}", "run lamina as root")
        if found.refusal:
            return raw.blocker(found.refusal, _CLOSE)
        other = f"socket:[{found.peer}]"
        ends = [(raw.link, "one of a pair that")] + ([(other, "one of a pair whose other end")] if found.peer else [])
        for link, what in ends:
            if outside := view.outside(link):
                pid = outside[0][0]
                why = f"a unix socket, {what} is held by {describe(pid)}, outside the tree"
                return raw.blocker(why, f"dump the tree of a process above both, or end process {pid} first")
        return None  # an end that nobody has is in flight, or was closed meanwhile: the freeze shows it

    def surroundings(self) -> UnixDiag:
        """A way to ask the kernel."""
        return UnixDiag()

    def capture(self, holders: Holders, pidfd: int, around: UnixDiag) -> UnixState:
        """About 60 system calls."""
        with socket.socket(fileno=grab(pidfd, holders[0].fd)) as sock:
            return look(sock, holders[0], around, queue=True)

    def capture_together(self, extras: Sequence[UnixState]) -> None:
        """What waits in them."""
        waiting = [state for state in extras if state.copy >= 0]
        if not waiting:
            return
        found = unix_queue.read([(state.copy, state.type == socket.SOCK_STREAM) for state in waiting])
        for state, messages in zip(waiting, found, strict=True):
            state.messages = messages
            os.close(state.copy)
            state.copy = -1

    def held(self, extra: UnixState) -> Sequence[int]:
        """What is in flight."""
        extra.claimed = True
        return [fd for message in extra.messages for fd in message.fds]

    def release(self, extra: UnixState) -> None:
        """Descriptors that nobody asked for, and a queue that was not read."""
        if extra.copy >= 0:
            os.close(extra.copy)
            extra.copy = -1
        if not extra.claimed:
            for fd in self.held(extra):
                os.close(fd)

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """As `blocker`, for the moment of the freeze."""
        return file.raw.blocker(file.extra.refusal, _CLOSE) if file.extra.refusal else None

    def late_blockers(self, files: Sequence[CapturedFile]) -> Iterable[Blocker]:
        """An end whose other end is not in the tree, or does not take it for its other end; empty datagrams that cannot be placed."""
        known = {file.raw.ino & 0xFFFFFFFF: file for file in files}
        for file in files:
            state: UnixState = file.extra
            if not state.peer or state.refusal:
                continue
            other = known.get(state.peer)
            if other is None:
                why = "one of a pair whose other end nobody in the tree has: it may be in flight to another program"
                yield file.raw.blocker(f"a unix socket, {why}", _CLOSE)
            elif other.extra.peer != file.raw.ino & 0xFFFFFFFF and not other.extra.refusal:
                yield file.raw.blocker("a unix socket, connected to one that is not connected to it: not supported yet", _CLOSE)
            elif state.type != socket.SOCK_STREAM:
                yield from _place_empty(file, other)

    def late_notes(self, file: CapturedFile, pids: Collection[int]) -> Iterable[str]:
        """Who SO_PEERCRED will not name again; once for a pair."""
        state: UnixState = file.extra
        pid, uid, _gid, _groups = state.maker
        if state.connected and pid not in pids and (not state.peer or file.raw.ino & 0xFFFFFFFF < state.peer):
            who = f"process {pid}, which is not in the tree" if pid else "a process that has ended"
            yield f"{file.raw.words} of process {file.raw.tree_pid}: SO_PEERCRED says {who} (user {uid}), and after a restore lamina's"

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """Its record, and its queue."""
        raw, state = file.raw, file.extra
        record = unix_sk_entry(
            id=ident, ino=raw.ino & 0xFFFFFFFF, type=state.type, state=_CONNECTED if state.connected else _CLOSED, flags=raw.flags,
            uflags=0, backlog=0, peer=state.peer, fown=raw.owner.entry(), opts=sk_opts_entry(**state.values), name=state.name,
        )  # fmt: skip
        if state.shutdown:
            record.shutdown = sk_shutdown.Name(state.shutdown)  # type: ignore[assignment]
        unix_queue.save(file, state.messages, ident, saving)
        return file_entry(type=fd_types.UNIXSK, id=ident, usk=record)

    def supplement(self, file: CapturedFile) -> Values:
        """Options that its record has no field for, who made it, and an error that it has not reported yet."""
        state: UnixState = file.extra
        pid, uid, gid, groups = state.maker
        kept: dict[str, Value] = dict(state.more)
        if pid and state.connected:
            kept |= {"maker_pid": pid, "maker_uid": uid, "maker_gid": gid} | ({"maker_groups": groups} if groups else {})
        return kept | ({"reset": 1} if state.reset else {})

    # -- its records -------------------------------------------------------------------------------------------------------------------

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        if record.type not in _TYPES:
            yield f"is of type {record.type}, which no unix socket has"
        if record.state not in _STATES:
            yield f"is in state {record.state}, which is unknown"
        if record.peer and record.peer == record.ino:
            yield "is its own other end"
        if len(record.name) > 108:
            yield f"has a name of {len(record.name)} bytes"
        yield from options.damage(record.opts)
        if record.flags & os.O_DIRECT:
            yield "has the flag O_DIRECT, which it cannot have"

    def unsupported(self, record: Any) -> Iterator[str]:
        """Sockets that are reached by a name."""
        if record.state == _LISTENING:
            yield "is a unix socket that listens, which is not supported yet"
        elif record.name and not (_CHOSEN_NAME.fullmatch(record.name) and _is_connected(record) and record.type != socket.SOCK_STREAM):
            yield f"is a unix socket, bound to {_where(record.name)}, which is not supported yet"
        if record.uflags:
            yield f"is a unix socket with the flags {record.uflags:#x} of criu, which are not supported"
        if record.opts.so_filter:
            yield "is a unix socket with a packet filter attached"
        if record.opts.so_reuseport or any(getattr(record.opts, name) for name in ("tcp_keepcnt", "tcp_keepidle", "tcp_keepintvl")):
            yield "is a unix socket with options that only internet sockets have"

    def layer_damage(self, layer: LayerFiles, tables: Tables) -> Iterator[tuple[str, str]]:
        """Ends that are not each other's, and messages that nobody can get."""
        ends: dict[int, unix_sk_entry] = {}
        for entry in layer.files.values():
            if entry.HasField("usk"):
                if entry.usk.ino in ends:
                    yield "files.img", f"its usk {entry.id} is the same socket as its usk {ends[entry.usk.ino].id}"
                ends[entry.usk.ino] = entry.usk
        for record in ends.values():
            other = ends.get(record.peer)
            if record.peer and (other is None or other.peer != record.ino or other.type != record.type):
                yield "files.img", f"its usk {record.id} is one of a pair whose other end it does not have"
        yield from ((f"{SK_QUEUES}.img", why) for why in unix_queue.damage(layer, layer.files))

    # -- restore -----------------------------------------------------------------------------------------------------------------------

    def shares(self, entry: file_entry) -> Key | None:
        """Both ends are one object."""
        record = entry.usk
        return "unix", min(record.ino, record.peer) if record.peer else record.ino

    def needs(self, entry: file_entry, layer: Records) -> Iterable[int]:
        """What is in flight in its queue."""
        return unix_queue.rights(entry.id, layer)

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Could senders and names be as they were?"""
        record = entry.usk
        if why := next(iter((*self.damage(record), *self.unsupported(record))), ""):
            return Blocker(opening.name(entry.id), f"it {why}")
        for packet, _ in unix_queue.packets(entry.id, opening):
            if packet.ucred.pid >= unix_queue.pid_limit():
                why = f"a message in it is from process {packet.ucred.pid}, and pids here end at {unix_queue.pid_limit()}"
                return Blocker(opening.name(entry.id), why, "sysctl kernel.pid_max=4194304")
        return _name_blocker(entry, opening) if record.name else None

    def make(self, entry: file_entry, opening: Opening) -> int:
        """An end of a new pair, by way of trial."""
        ends: Ends = opening.once(_key(entry), lambda: _make(_key(entry), None, opening), Ends.close)
        return ends.made.pop(entry.id)

    def connect(self, entry: file_entry, opening: Opening) -> None:
        """Fill both and set their options, by way of trial."""
        _complete(entry, opening, real=False)

    def author(self, key: Key, opening: Opening) -> int:
        """Whoever made the pair; if the layer does not say, the first that has an end of it."""
        first = opening.sharers(key)[0]
        if not _is_connected(first.usk):
            return 0
        if pid := int(opening.supplement(first.id).get("maker_pid", 0)):
            return pid
        ends = {entry.id for entry in opening.sharers(key)}
        return next((pid for pid in opening.pids if ends & set(opening.numbers(pid).values())), 0)

    def remake(self, key: Key, author: TaskHands | None, opening: Opening) -> Mapping[int, int]:
        """The pair itself, made by who had made it."""
        return _make(key, author, opening).made

    def fill(self, entry: file_entry, opening: Opening) -> None:
        """Both queues, with who sent what; then options, names and shut-down halves."""
        _complete(entry, opening, real=True)


def _place_empty(file: CapturedFile, other: CapturedFile) -> Iterator[Blocker]:
    """Empty datagrams that a look at the queue passes over: if there is nothing else their places are known."""
    state: UnixState = file.extra
    missing = unix_queue.passed_over(state.messages, state.type, other.extra.sent)
    if not missing:
        return
    if not any(message.content for message in state.messages):
        state.messages += (Message(b""),) * missing
        return
    some = f"{missing} empty datagram{'s' * (missing > 1)}"
    why = f"a unix socket in which {some} wait between others, it cannot be told where: they were seen before (MSG_PEEK, an earlier dump)"
    yield file.raw.blocker(why, "try again when they have been read")


def _is_connected(record: unix_sk_entry) -> bool:
    return record.peer != 0 or record.state == _CONNECTED


def _key(entry: file_entry) -> Key:
    key = UnixSocket().shares(entry)
    assert key is not None
    return key


@dataclass
class Ends:
    """The ends of a pair while they are made: file id → descriptor; those that are not taken are closed."""

    made: dict[int, int]

    def close(self) -> None:
        """Let go of what is left."""
        while self.made:
            os.close(self.made.popitem()[1])


@dataclass
class Spare:
    """The end of a pair that is gone, while its other end is filled from it."""

    fd: int = -1

    def close(self) -> None:
        """Let it be gone. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _spare(key: Key, opening: Opening) -> Spare:
    return opening.once(("spare", *key), Spare, Spare.close)


def _make(key: Key, author: TaskHands | None, opening: Opening) -> Ends:
    """New sockets for all ends of *key*: made by *author*, or here."""
    entries = opening.sharers(key)
    first = entries[0]
    kind = first.usk.type
    if not _is_connected(first.usk):
        fds = [socket.socket(socket.AF_UNIX, kind).detach()]
    elif author:
        fds = _pair_of(author, kind, opening.supplement(first.id))
    else:
        fds = [end.detach() for end in socket.socketpair(socket.AF_UNIX, kind)]
    if len(fds) > len(entries):
        spare = _spare(key, opening)
        spare.close()
        spare.fd = fds.pop()
    for fd, entry in zip(fds, entries, strict=True):
        os.set_blocking(fd, not entry.usk.flags & os.O_NONBLOCK)
    return Ends({entry.id: fd for fd, entry in zip(fds, entries, strict=True)})


def _pair_of(author: TaskHands, kind: int, kept: Values) -> list[int]:
    """socketpair(2) in a process, as the user that made the pair. Whatever that was, it gets its credentials later."""
    status = read_status(author.pid)
    uid, gid = int(status["Uid"].split()[1]), int(status["Gid"].split()[1])
    groups = [int(group) for group in status["Groups"].split()]
    wanted = [int(group) for group in str(kept["maker_groups"]).split(",")] if "maker_groups" in kept else []
    calls = CallList()
    about = "be the user that made a pair of sockets"
    became = "maker_pid" in kept

    def be(groups: Sequence[int], gid: int, uid: int) -> None:
        calls.add("setgroups", len(groups), calls.data(struct.pack(f"={len(groups)}I", *groups) or bytes(4)), expect=0, about=about)
        calls.add("setresgid", _SAME, gid, _SAME, expect=0, about=about)
        calls.add("setresuid", _SAME, uid, _SAME, expect=0, about=about)

    if became:
        be(wanted, int(kept["maker_gid"]), int(kept["maker_uid"]))
    numbers = calls.room(8)
    calls.add("socketpair", socket.AF_UNIX, kind | socket.SOCK_CLOEXEC, 0, numbers, expect=0, about="make a pair of sockets")
    if became:
        # The user first: it is what the right to change the others hangs on.
        calls.add("setresuid", _SAME, uid, _SAME, expect=0, about=about)
        be(groups, gid, uid)
    author.run(calls)
    made = struct.unpack("=ii", calls.output(numbers, 8))
    fds = [author.fetch(fd) for fd in made]
    calls = CallList()
    for fd in made:
        calls.add("close", fd, expect=0, about="make a pair of sockets")
    author.run(calls)
    return fds


def _complete(entry: file_entry, opening: Opening, real: bool) -> None:
    """Fill all ends of a pair, then set what could stand in the way of that. Once for a pair. *real*: its processes exist.

    Raises:
        OSError: something cannot be as it was.
    """
    key = _key(entry)
    entries = opening.sharers(key)
    if entry.id != entries[0].id:
        return
    spare = _spare(key, opening)
    fds = {each.id: opening.fd(each.id) for each in entries}
    for each in entries:
        sender = next((fds[other.id] for other in entries if other.id != each.id), spare.fd)
        if sender >= 0:
            with socket.socket(fileno=os.dup(sender)) as sock:
                unix_queue.fill(sock, each.id, opening, with_senders=real)
    if spare.fd >= 0 and "reset" in opening.supplement(entry.id):
        os.write(fds[entry.id], b"\0")  # what is gone before it has read this
    spare.close()
    for each in entries:
        with socket.socket(fileno=os.dup(fds[each.id])) as sock:
            _settle(sock, each, opening, real)
    if real and _is_connected(entry.usk) and UnixSocket().author(key, opening) not in opening.pids:
        opening.notice(f"{opening.name(entry.id)}: SO_PEERCRED named a process that is not in the tree, and names lamina's now")


def _settle(sock: socket.socket, entry: file_entry, opening: Opening, real: bool) -> None:
    record = entry.usk
    if real and record.name:
        sock.bind(record.name)
    options.apply(sock, record.opts)
    options.apply_more(sock, opening.supplement(entry.id), early=False)
    if record.shutdown:
        with suppress(OSError):  # of one that was never connected it cannot be undone either
            sock.shutdown(record.shutdown - 1)


def _name_blocker(entry: file_entry, opening: Opening) -> Blocker | None:
    """Somebody has the name that the kernel chose for a socket."""
    name = entry.usk.name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return Blocker(opening.name(entry.id), f"its name {_where(name)} cannot be had: {error.strerror}")
        holders = {pid for link in _links_named(name) for pid, _ in ObjectHolders().outside(link, ())}
        if holders and holders <= opening.options.ending:
            return None
        who = describe(min(holders)) if holders else "another program"
        return Blocker(opening.name(entry.id), f"its name {_where(name)} is taken: {who} has it", "end it first")
    return None


def _links_named(name: bytes) -> list[str]:
    """Sockets of that name, as in "socket:[4711]" (/proc/net/unix: the inode, then the name)."""
    lines = (line.split() for line in Path("/proc/net/unix").read_bytes().splitlines()[1:])
    return [f"socket:[{words[6].decode()}]" for words in lines if len(words) > 7 and words[7] == name.replace(b"\0", b"@", 1)]
