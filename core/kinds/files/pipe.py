"""pipe(7): both ends inside the tree, or the other end closed; contents, size and packet mode are kept.

The contents are copied by tee(2) in the freeze, which shares the pages and consumes nothing, and read from the copy after the thaw: what
the target writes later goes behind the copied bytes of a page, never into them.
"""

import errno
import fcntl
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.procfs import describe
from lamina.core.errors import Blocker, ImageError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.schema import fd_types, file_entry, pipe_entry
from lamina.core.objects.fdkind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.rawfd import Holders, RawFd, grabbed

PIPE_BUF: Final = 4096
# Of the kernel's own making (fs/pipe.c): more slots than this cannot be asked for by anyone.
SIZE_LIMIT: Final = 1 << 31
O_LARGEFILE: Final = 0o100000 if os.uname().machine == "x86_64" else 0o400000
STREAMS: Final = ("standard input", "standard output", "standard error")


@dataclass
class PipeCopy:
    """A pipe of lamina's own with the contents; read once.

    Attributes:
        fd: its reading end; -1 if the pipe was empty.
        size: bytes in it.
    """

    fd: int
    size: int
    _content: bytes | None = None
    packets: int = 0

    def content(self) -> bytes:
        """The bytes; reading stops at the border of every packet, so that they are counted too."""
        if self._content is None:
            parts: list[bytes] = []
            while sum(map(len, parts)) < self.size:
                parts.append(os.read(self.fd, self.size))
            self.packets = len(parts)
            self._content = b"".join(parts)
        return self._content

    def close(self) -> None:
        """Let go of the copy. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Pipe(DescriptorKind):
    """One end of a pipe."""

    name = "pipe"
    type = fd_types.PIPE
    field = "pipe"

    def recognise(self, raw: RawFd) -> bool:
        """By its link; a FIFO has a path."""
        return raw.link.startswith("pipe:[")

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """An end outside the tree: that program would talk to a pipe that is no longer there."""
        raw = holders[0]
        outside = view.pipe_holders(raw.ino)
        if not outside:
            return None
        ours = raw.flags & os.O_ACCMODE
        opposite = [pid for pid, flags in outside if flags & os.O_ACCMODE != ours]
        end = "other end" if opposite else "end"
        if opposite and ours != os.O_RDWR:
            end = "reading end" if ours == os.O_WRONLY else "writing end"
        pid = (opposite or [outside[0][0]])[0]
        why = f"a pipe whose {end} is held by {describe(pid)}, outside the tree"
        standard = [STREAMS[h.fd] for h in holders if h.fd <= 2]
        if standard:
            why = f"{' and '.join(dict.fromkeys(standard))} is {why}"
            return raw.blocker(why, "start the program with its streams in files: < /dev/null > out.log 2>&1")
        return raw.blocker(why, f"dump the tree of a process above both, or end process {pid} first")

    def capture_key(self, raw: RawFd) -> object:
        """All ends of a pipe have one content."""
        return raw.ino

    def capture(self, holders: Holders, pidfd: int) -> PipeCopy | None:
        """A copy of the contents; none if it is empty."""
        raw = holders[0]
        if not raw.pipe_bytes:
            return None
        err, size = new_error(), ffi.new("int *")
        with grabbed(pidfd, raw.fd) as end:
            fd = check(C.lm_pipe_copy(end, size, err), err)
        return PipeCopy(fd, size[0])

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """Packets have borders that the images cannot hold: one can be kept, several cannot."""
        copy = file.extra
        if copy is None or len(copy.content()) == 0 or copy.packets <= 1:
            return None
        return file.raw.blocker(f"a pipe in packet mode with {copy.packets} packets waiting", "try again when they have been read")

    def release(self, extra: PipeCopy | None) -> None:
        """Close the copy."""
        if extra is not None:
            extra.close()

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """The end; size and contents once for the pipe."""
        raw = file.raw
        pipe_id = saving.pipe(raw.ino, raw.pipe_size, file.extra.content() if file.extra else b"")
        record = pipe_entry(id=ident, pipe_id=pipe_id, flags=raw.flags, fown=raw.owner.entry())
        return file_entry(type=fd_types.PIPE, id=ident, pipe=record)

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Larger than this user may make a pipe?"""
        size, content = opening.pipe_data(entry.pipe.pipe_id)
        if not 0 <= size < SIZE_LIMIT or (size and len(content) > size):
            return Blocker(f"pipe {entry.pipe.pipe_id}", f"the layer says it has {size} bytes of room and {len(content)} in it")
        return None

    def rebuild(self, entry: file_entry, opening: Opening) -> int:
        """The end itself for its first description; others are opened anew through /proc, as the program must have done."""
        record = entry.pipe
        ends = opening.pipe_ends(record.pipe_id, lambda: _make(record.pipe_id, opening))
        access = record.flags & os.O_ACCMODE
        source = ends[1] if access == os.O_WRONLY else ends[0]
        # open(2) adds O_LARGEFILE, pipe(2) does not.
        if access != os.O_RDWR and not record.flags & O_LARGEFILE and opening.claim(source):
            fd = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 0)
        else:
            fd = os.open(f"/proc/self/fd/{source}", access | os.O_CLOEXEC)
        fcntl.fcntl(fd, fcntl.F_SETFL, record.flags & (os.O_NONBLOCK | os.O_DIRECT))
        return fd


class PipeHolders:
    """Who holds which pipe, by one look through the descriptors of every process: several examinations may share it for a moment."""

    def __init__(self, inodes: Iterable[int] = ()) -> None:
        """Look for *inodes* too when first asked about any."""
        self._wanted = set(inodes)
        self._found: dict[int, list[tuple[int, int]]] | None = None

    def outside(self, inode: int, pids: Collection[int], others: Iterable[int] = ()) -> list[tuple[int, int]]:
        """Who outside *pids* holds the pipe *inode*, as (pid, open flags). *others* will be asked about next.

        Raises:
            NativeError: /proc cannot be listed.
        """
        if self._found is None or inode not in self._wanted:
            self._wanted |= {inode, *others}
            self._found = _all_holders(self._wanted)
        return [(pid, flags) for pid, flags in self._found.get(inode, []) if pid not in pids]


def pipes_of(pids: Iterable[int]) -> set[int]:
    """The inodes of all pipes that *pids* hold; what ends or may not be read has none."""
    found = set()
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                links = [os.readlink(entry.path) for entry in entries]
        except OSError:
            continue
        found |= {int(link[6:-1]) for link in links if link.startswith("pipe:[")}
    return found


def _all_holders(inodes: Collection[int]) -> dict[int, list[tuple[int, int]]]:
    wanted = sorted(inodes)
    err, unreadable, room = new_error(), ffi.new("int *"), 256
    while True:
        found = ffi.new("lm_holder[]", room)
        count = C.lm_pipe_holders(wanted, len(wanted), found, room, unreadable, err)
        if count >= 0 or err.errnum != errno.ENOSPC:
            break
        room *= 8
    holders: dict[int, list[tuple[int, int]]] = {}
    for holder in found[0 : check(count, err)]:
        holders.setdefault(holder.inode, []).append((holder.pid, holder.flags))
    return holders


def _make(pipe_id: int, opening: Opening) -> tuple[int, int]:
    size, content = opening.pipe_data(pipe_id)
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if size and fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) != size:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, size)
        packets = any(end.flags & os.O_DIRECT and end.flags & os.O_ACCMODE for end in opening.pipe_entries(pipe_id))
        if content and packets and len(content) <= PIPE_BUF:
            fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
        if content and os.write(writing, content) != len(content):
            raise ImageError("cannot rebuild", f"pipe {pipe_id}", f"it has no room for the {len(content)} bytes that were in it")
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    return reading, writing
