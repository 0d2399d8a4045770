"""eventfd(2): a counter. Rebuilt with its count and flags."""

import os
from collections.abc import Iterator
from typing import Any, Final

from lamina.core.errors import Blocker
from lamina.core.image.schema import eventfd_file_entry, fd_types, file_entry
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Opening, Saving
from lamina.core.objects.rawfd import RawFd

# The images have no field for EFD_SEMAPHORE. Bit 0 of an eventfd's open flags is always 0 (it is O_RDWR) and F_SETFL ignores it, so
# that CRIU, which knows no semaphores, reads the rest as usual.
SEMAPHORE: Final = 1


class EventFd(DescriptorKind):
    """An event counter."""

    name = "eventfd"
    type = fd_types.EVENTFD
    field = "efd"

    def recognise(self, raw: RawFd) -> bool:
        """By its link."""
        return raw.link == "anon_inode:[eventfd]"

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """Counter and semaphore from fdinfo (hexadecimal; Documentation/filesystems/proc.rst)."""
        raw = file.raw
        semaphore = SEMAPHORE if raw.line("eventfd-semaphore") != "0" else 0
        count = int(raw.line("eventfd-count"), 16)
        record = eventfd_file_entry(id=ident, flags=raw.flags | semaphore, counter=count, fown=raw.owner.entry())
        return file_entry(type=fd_types.EVENTFD, id=ident, efd=record)

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        if record.counter == 2**64 - 1:
            yield "has counted further than it can"
        if record.flags & os.O_DIRECT:
            yield "has the flag O_DIRECT, which it cannot have"

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """Nothing can stand in the way."""
        return None

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Made empty and filled by write(2): eventfd(2) itself takes only 32 bits."""
        record = entry.efd
        fd = os.eventfd(0, (os.EFD_SEMAPHORE if record.flags & SEMAPHORE else 0) | os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if record.counter:
            os.eventfd_write(fd, record.counter)
        os.set_blocking(fd, not record.flags & os.O_NONBLOCK)
        return fd
