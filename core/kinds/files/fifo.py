"""Named pipes (fifo(7)): a pipe that is reached by a path, kept like one without a name (`pipe.py`), and opened by its path again.

Whoever has it open outside the tree finds the program there again, for it is the same FIFO. What waits in it is put back, unless
somebody has written there meanwhile.
"""

import fcntl
import os
import select
import stat
import sys
import termios
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from lamina.core.errors import Blocker, ImageError, RefusedError
from lamina.core.image.schema import fd_types, fifo_entry, file_entry, fown_entry
from lamina.core.image.supplement import Values
from lamina.core.kinds.files.pipe import Pipe, PipeCopy, contents, contents_blocker, contents_damage, fill, save_contents
from lamina.core.kinds.files.regfile import RegularFile
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Key, Opening, Saving, TreeView
from lamina.core.objects.layer_files import LayerFiles, Tables
from lamina.core.objects.named_file import changed, path_of
from lamina.core.objects.rawfd import ONCE, Holders, RawFd, grabbed

_DATA: Final = "fifo-data"
_KEPT_FLAGS: Final = os.O_NONBLOCK | os.O_DIRECT | os.O_APPEND
_HUNG_UP: Final = "hung_up"


@dataclass
class FifoState:
    """A FIFO as one description of it shows it.

    Attributes:
        copy: its contents, or None if there are none.
        hung_up: a writer was there and is gone, which poll(2) tells this reader.
    """

    copy: PipeCopy | None
    hung_up: bool

    def content(self) -> bytes:
        """The bytes that wait."""
        return self.copy.content() if self.copy else b""


class Fifo(DescriptorKind):
    """A named pipe, opened for reading, for writing, or both."""

    name = "FIFO"
    type = fd_types.FIFO
    field = "fifo"
    images = (_DATA,)
    kept = MappingProxyType({_HUNG_UP: frozenset({1})})
    shared_fds = 1

    def recognise(self, raw: RawFd) -> bool:
        """By type; a pipe has no path."""
        return stat.S_ISFIFO(raw.mode) and raw.link.startswith("/")

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Deleted, renamed or replaced."""
        return RegularFile().blocker(holders, view)

    def capture(self, holders: Holders, pidfd: int, around: None) -> FifoState:
        """Its contents, and whether it has hung up."""
        raw = holders[0]
        hung_up = False
        if raw.flags & (os.O_ACCMODE | os.O_PATH) == os.O_RDONLY:
            with grabbed(pidfd, raw.fd) as copy:
                poll = select.poll()
                poll.register(copy, 0)
                hung_up = any(events & select.POLLHUP for _, events in poll.poll(0))
        return FifoState(Pipe().capture(holders, pidfd, None), hung_up)

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """As of a pipe and of a file."""
        of_pipe = CapturedFile(file.holders, self, file.extra.copy)
        return Pipe().late_blocker(of_pipe) or RegularFile().late_blocker(file)

    def release(self, extra: FifoState) -> None:
        """Close the copy."""
        Pipe().release(extra.copy)

    def supplement(self, file: CapturedFile) -> Values:
        """That it has hung up."""
        return {_HUNG_UP: 1} if file.extra.hung_up else {}

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """The path with flags and owner in a record of its own; size and contents once for the pipe."""
        raw = file.raw
        pipe_id = saving.once(("fifo", raw.dev, raw.ino), lambda: save_contents(file, saving, _DATA))
        record = fifo_entry(id=ident, pipe_id=pipe_id, regf_id=saving.named_file(raw))
        return file_entry(type=fd_types.FIFO, id=ident, fifo=record)

    # -- its records -------------------------------------------------------------------------------------------------------------------

    def damage(self, record: Any) -> Iterator[str]:
        """Old releases of criu had no path in it."""
        if not record.HasField("regf_id"):
            yield "has no path"

    def layer_damage(self, layer: LayerFiles, tables: Tables) -> Iterator[tuple[str, str]]:
        """A path that is not there or is of something else; contents as of pipes."""
        for entry in layer.files.values():
            if entry.HasField("fifo") and entry.fifo.HasField("regf_id"):
                path = layer.files.get(entry.fifo.regf_id)
                if path is None or not path.HasField("reg"):
                    yield "files.img", f"has no path {entry.fifo.regf_id} for the FIFO {entry.id}"
                elif path.reg.HasField("mode") and not stat.S_ISFIFO(path.reg.mode):
                    yield "files.img", f"its path {path.id} for the FIFO {entry.id} is of something else (mode {path.reg.mode:#o})"
                elif path.reg.flags & os.O_ACCMODE == os.O_ACCMODE:
                    yield "files.img", f"its FIFO {entry.id} is open for neither reading nor writing"
        for why in contents_damage(layer.records(_DATA)):
            yield f"{_DATA}.img", why

    # -- restore -----------------------------------------------------------------------------------------------------------------------

    def shares(self, entry: file_entry) -> Key | None:
        """All descriptions of a FIFO have one pipe."""
        return "fifo", entry.fifo.pipe_id

    def own_files(self, entry: file_entry) -> Collection[int]:
        """Its path."""
        return (entry.fifo.regf_id,)

    def owner_and_flags(self, entry: file_entry, opening: Opening) -> tuple[fown_entry, int]:
        """They stand in the record of its path."""
        record = opening.entry(entry.fifo.regf_id).reg
        return record.fown, int(record.flags)

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Still a FIFO, and its contents fit."""
        return changed(opening.entry(entry.fifo.regf_id).reg) or contents_blocker(entry.fifo.pipe_id, opening, _DATA)

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Opened by its path, which never waits: as long as any description is missing the restorer has one end itself."""
        record = opening.entry(entry.fifo.regf_id).reg
        path, flags = path_of(record), int(record.flags) & ~ONCE
        if flags & os.O_PATH:
            return os.open(path, flags | os.O_CLOEXEC)
        opening.once(("fifo", entry.fifo.pipe_id), lambda: _fill(path, entry.fifo.pipe_id, opening), os.close)
        fd = _open(path, flags & ~_KEPT_FLAGS)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & _KEPT_FLAGS)
        return fd

    def connect(self, entry: file_entry, opening: Opening) -> None:
        """A reader whose writers are gone sees that again only if one comes and goes."""
        if opening.supplement(entry.id).get(_HUNG_UP):
            os.close(_open(path_of(opening.entry(entry.fifo.regf_id).reg), os.O_WRONLY))


def _open(path: str, flags: int) -> int:
    """Open a FIFO without waiting.

    Raises:
        OSError: as open(2). ImageError: something else has taken its name.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(place).st_mode):
            raise ImageError("cannot open", path, "it is no FIFO any more")
        return os.open(f"/proc/self/fd/{place}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)


def _fill(path: str, pipe_id: int, opening: Opening) -> int:
    """A reading end, kept so that writers can be opened; with what was in the FIFO behind it. The writer that puts it there is gone again.

    Raises:
        RefusedError: something waits there that is not ours.
    """
    size, content = contents(pipe_id, opening, _DATA)
    reading = _open(path, os.O_RDONLY)
    try:
        if size and fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) != size:
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, size)
        if content:
            if waiting := int.from_bytes(fcntl.ioctl(reading, termios.FIONREAD, bytes(4)), sys.byteorder):
                why = f"{waiting} bytes of another program wait in it, and {len(content)} are to be put back"
                raise RefusedError("cannot restore", blockers=(Blocker(path, why, "let that program end, or read them"),))
            ends = (Fifo().owner_and_flags(entry, opening)[1] for entry in opening.sharers(("fifo", pipe_id)))
            packets = any(flags & os.O_DIRECT and flags & os.O_ACCMODE for flags in ends)
            writing = _open(path, os.O_WRONLY)
            try:
                fill(writing, 0, content, packets)
            finally:
                os.close(writing)
    except BaseException:
        os.close(reading)
        raise
    return reading
