"""pipe(7): both ends inside the tree, or the other end closed; contents, size and packet mode are kept.

The contents are copied by tee(2) in the freeze, which shares the pages and consumes nothing, and read from the copy after the thaw: what
the target writes later goes behind the copied bytes of a page, never into them.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lamina.core.attach.procfs import describe
from lamina.core.errors import Blocker
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.image.schema import fd_types, file_entry, pipe_data_entry, pipe_entry
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Key, Opening, Saving, TreeView
from lamina.core.objects.layer_files import LayerFiles, Tables
from lamina.core.objects.rawfd import Holders, RawFd, grabbed

PIPE_BUF: Final = 4096
# Of the kernel's own making (fs/pipe.c): more slots than this cannot be asked for by anyone.
SIZE_LIMIT: Final = 1 << 31
_USUAL_SIZE: Final = 65536  # of one whose size is not recorded
O_LARGEFILE: Final = 0o100000 if os.uname().machine == "x86_64" else 0o400000
PIPES_DATA: Final = "pipes-data"
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
    images = (PIPES_DATA,)
    shared_fds = 2

    def recognise(self, raw: RawFd) -> bool:
        """By its link; a FIFO has a path."""
        return raw.link.startswith("pipe:[")

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """An end outside the tree: that program would talk to a pipe that is no longer there."""
        raw = holders[0]
        outside = view.outside(raw.link)
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

    def capture(self, holders: Holders, pidfd: int, around: None) -> PipeCopy | None:
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
        pipe_id = saving.once(("pipe", raw.ino), lambda: save_contents(file, saving, PIPES_DATA))
        record = pipe_entry(id=ident, pipe_id=pipe_id, flags=raw.flags, fown=raw.owner.entry())
        return file_entry(type=fd_types.PIPE, id=ident, pipe=record)

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        if record.flags & os.O_ACCMODE == os.O_ACCMODE:
            yield "is open for neither reading nor writing"

    def layer_damage(self, layer: LayerFiles, tables: Tables) -> Iterator[tuple[str, str]]:
        """Contents that do not fit, or are there twice."""
        return ((f"{PIPES_DATA}.img", why) for why in contents_damage(layer.records(PIPES_DATA)))

    def shares(self, entry: file_entry) -> Key | None:
        """Both ends have one pipe."""
        return "pipe", entry.pipe.pipe_id

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Larger than this user may make a pipe?"""
        return contents_blocker(entry.pipe.pipe_id, opening, PIPES_DATA)

    def make(self, entry: file_entry, opening: Opening) -> int:
        """The end itself for its first description; others are opened anew through /proc, as the program must have done."""
        record = entry.pipe
        ends = opening.once(("pipe", record.pipe_id), lambda: _make(record.pipe_id, opening), Ends.close)
        access = record.flags & os.O_ACCMODE
        source = ends.writing if access == os.O_WRONLY else ends.reading
        # open(2) adds O_LARGEFILE, pipe(2) does not.
        if access != os.O_RDWR and not record.flags & O_LARGEFILE and source not in ends.handed_out:
            ends.handed_out.add(source)
            fd = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 0)
        else:
            fd = os.open(f"/proc/self/fd/{source}", access | os.O_CLOEXEC)
        fcntl.fcntl(fd, fcntl.F_SETFL, record.flags & (os.O_NONBLOCK | os.O_DIRECT))
        return fd


@dataclass
class Ends:
    """Both ends of a pipe in the restorer, and which of them have become a description of the program."""

    reading: int
    writing: int
    handed_out: set[int] = field(default_factory=set)

    def close(self) -> None:
        """Let go of both."""
        os.close(self.reading)
        os.close(self.writing)


def save_contents(file: CapturedFile, saving: Saving, image: str) -> int:
    """Record size and contents of the pipe behind *file* in *image*; returns its id."""
    # CRIU uses the inode number, which is what makes it findable in messages.
    raw, content = file.raw, file.extra.content() if file.extra else b""
    ident = raw.ino & 0xFFFFFFFF
    saving.put(image, pipe_data_entry(pipe_id=ident, bytes=len(content), size=raw.pipe_size), content)
    return ident


def contents_damage(records: Sequence[tuple[Any, bytes]]) -> Iterator[str]:
    """What is wrong with the contents of pipes."""
    seen: set[int] = set()
    for record, content in records:
        if record.pipe_id in seen:
            yield f"pipe {record.pipe_id} is there twice"
        seen.add(record.pipe_id)
        if record.size >= SIZE_LIMIT or len(content) > (record.size or _USUAL_SIZE):
            yield f"pipe {record.pipe_id} has {record.size} bytes of room, and {len(content)} in it"


def contents(pipe_id: int, opening: Opening, image: str) -> tuple[int, bytes]:
    """Size and contents of a pipe, as *image* has them; size 0 if it has none."""
    known = opening.once(("contents", image), lambda: _contents_by_id(opening, image), _nothing)
    return known.get(pipe_id, (0, b""))


def _contents_by_id(opening: Opening, image: str) -> dict[int, tuple[int, bytes]]:
    return {record.pipe_id: (record.size, content) for record, content in opening.records(image)}


def _nothing(_: object) -> None:
    """There is nothing to let go of."""


def contents_blocker(pipe_id: int, opening: Opening, image: str) -> Blocker | None:
    """Why a pipe could not be filled as it was."""
    size, content = contents(pipe_id, opening, image)
    if not 0 <= size < SIZE_LIMIT or (size and len(content) > size):
        return Blocker(f"pipe {pipe_id}", f"the layer says it has {size} bytes of room and {len(content)} in it")
    return None


def fill(writing: int, size: int, content: bytes, packets: bool) -> None:
    """Give a new pipe its *size* and *content*; *packets*: a writer is in packet mode (O_DIRECT).

    Raises:
        OSError: as fcntl(2) and write(2), which must not block.
        ValueError: the content does not fit.
    """
    if size and fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) != size:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, size)
    if content and packets and len(content) <= PIPE_BUF:
        fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
    if content and os.write(writing, content) != len(content):
        raise ValueError(f"it has no room for the {len(content)} bytes that were in it")


def _make(pipe_id: int, opening: Opening) -> Ends:
    size, content = contents(pipe_id, opening, PIPES_DATA)
    packets = any(entry.pipe.flags & os.O_DIRECT and entry.pipe.flags & os.O_ACCMODE for entry in opening.sharers(("pipe", pipe_id)))
    ends = Ends(*os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        fill(ends.writing, size, content, packets)
    except BaseException:
        ends.close()
        raise
    return ends
