"""Devices without state of their own (/dev/null, /dev/zero, /dev/full, /dev/random, /dev/urandom): opened again by path, as CRIU does."""

import stat
from collections.abc import Iterator
from typing import Any

from lamina.core.errors import Blocker
from lamina.core.image.schema import fd_types, file_entry
from lamina.core.kinds.files.regfile import RegularFile
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.named_file import SIMPLE_DEVICES, changed, entry_of, open_reg, path_blocker
from lamina.core.objects.rawfd import Holders, RawFd


class SimpleDevice(DescriptorKind):
    """A character device that is the same for whoever opens it."""

    name = "device"
    type = fd_types.REG
    field = "reg"

    def recognise(self, raw: RawFd) -> bool:
        """By device number."""
        return stat.S_ISCHR(raw.mode) and raw.rdev in SIMPLE_DEVICES

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Its path must lead to it."""
        raw = holders[0]
        why = path_blocker(raw.link, raw.dev, raw.ino)
        return raw.blocker(why) if why else None

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """A regular-file record, its mode says what it is."""
        return file_entry(type=fd_types.REG, id=ident, reg=entry_of(ident, file.raw))

    def damage(self, record: Any) -> Iterator[str]:
        """A regular-file record."""
        return RegularFile().damage(record)

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """There, and still such a device."""
        return changed(entry.reg)

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Open by path."""
        return open_reg(entry.reg)
