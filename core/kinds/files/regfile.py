"""Regular files and directories: path, flags and offset."""

import os
import stat
from collections.abc import Iterator
from typing import Any, Final

from lamina.core.errors import Blocker
from lamina.core.image.records.limits import LONG_MAX
from lamina.core.image.schema import fd_types, file_entry
from lamina.core.objects.file_records import path_damage
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.named_file import DELETED, changed, entry_of, is_process_file, open_reg, path_blocker
from lamina.core.objects.rawfd import Holders, RawFd

_O_TMPFILE: Final = 0o20000000
_PROCESS_FILE: Final = "a file of /proc/PID, which a restored process could not open before it exists"


class RegularFile(DescriptorKind):
    """A file or directory opened by its path."""

    name = "regular file"
    type = fd_types.REG
    field = "reg"

    def recognise(self, raw: RawFd) -> bool:
        """By type, except what only looks like a file (memfd and other memory, message queues)."""
        return (stat.S_ISREG(raw.mode) or stat.S_ISDIR(raw.mode)) and raw.link.startswith("/") and not raw.is_message_queue

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Deleted, renamed, replaced, or of a process's own /proc."""
        raw = holders[0]
        if raw.nlink == 0:
            return raw.blocker("the file was deleted", "close it, or let the program open it again")
        if is_process_file(raw.link):
            return raw.blocker(_PROCESS_FILE)
        why = path_blocker(raw.link, raw.dev, raw.ino)
        return raw.blocker(why, "put it back under its name") if why else None

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """The same, of what the freeze showed: what the target does to its files after the thaw is no matter of this layer."""
        raw = file.raw
        if raw.nlink == 0 or (raw.link.endswith(DELETED) and not os.path.lexists(raw.link)):
            return raw.blocker("the file was deleted", "close it, or let the program open it again")
        return raw.blocker(_PROCESS_FILE) if is_process_file(raw.link) else None

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """Path, flags, offset, size, mode."""
        return file_entry(type=fd_types.REG, id=ident, reg=entry_of(ident, file.raw))

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        if why := path_damage(record.name):
            yield why
        if record.pos > LONG_MAX:
            yield f"has the offset {record.pos:#x}"
        if record.flags & _O_TMPFILE:
            yield "was opened without a name"
        if record.HasField("size") and record.size > LONG_MAX:
            yield f"has {record.size} bytes"

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """See `changed`."""
        return changed(entry.reg)

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Open by path with the flags it had, and seek."""
        return open_reg(entry.reg)
