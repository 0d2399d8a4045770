"""files.img while it is made: ids for open file descriptions and for the paths that tasks name (executable, mapped files, directories)."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from google.protobuf.message import Message

from lamina.core.errors import Blocker, ImageError, RefusedError, TargetError
from lamina.core.image.schema import fd_types, file_entry, pipe_data_entry, tty_info_entry
from lamina.core.image.supplement import Values
from lamina.core.kinds.files.buildid import build_id_of
from lamina.core.kinds.files.regfile import DELETED, changed, entry_of, path_of, reg_entry
from lamina.core.objects.fdkind import CapturedFile, Saving
from lamina.core.objects.paths import PathOf
from lamina.core.objects.rawfd import RawFd

Images = dict[str, tuple[str, list[Message | tuple[Message, bytes]]]]
"""Name without ".img" → (kind of image, records), as `LayerDraft.put` takes them."""


class FileTable(Saving):
    """Gives out ids and keeps the records, for one layer. Not for use inside a freeze: it looks at the files.

    Attributes:
        supplements: id → what its record has no field for.
    """

    def __init__(self) -> None:
        self._last = 0
        self.entries: list[file_entry] = []
        self.supplements: dict[int, Values] = {}
        self._paths: dict[tuple[str, int], int] = {}
        self._pipes: dict[int, int] = {}
        self._pipe_data: list[tuple[Message, bytes]] = []
        self._terminals: dict[int, int] = {}
        self._terminal_info: list[tty_info_entry] = []

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _add(self, entry: file_entry) -> int:
        self.entries.append(entry)
        return entry.id

    def path(self, path: str, flags: int = 0) -> int:
        """The id of the regular-file entry for absolute *path* opened with *flags*; the same pair has the same id.

        Size and, for an ELF file, build id are recorded, so that restore knows whether it is still the same file.

        Raises:
            TargetError: there is no such file (any more).
        """
        known = self._paths.get((path, flags))
        if known:
            return known
        try:
            info = Path(path).stat()
        except OSError as error:
            why = "it was deleted" if path.endswith(DELETED) else os.strerror(error.errno or 0)
            raise TargetError("cannot dump the use of", path, why, "put the file back, or end what uses it") from error
        entry = reg_entry(self._next(), path, flags, 0, info.st_mode, info.st_size)
        if entry.HasField("size"):
            entry.build_id.extend(build_id_of(path) or ())
        self._paths[path, flags] = entry.id
        return self._add(file_entry(type=fd_types.REG, id=entry.id, reg=entry))

    def description(self, file: CapturedFile) -> int:
        """The id of a new record for a captured open file description."""
        ident = self._next()
        if kept := file.kind.supplement(file):
            self.supplements[ident] = kept
        return self._add(file.kind.save(file, ident, self))

    def reg(self, raw: RawFd) -> int:
        """The id of a new regular-file entry for the path of *raw*."""
        entry = entry_of(self._next(), raw)
        return self._add(file_entry(type=fd_types.REG, id=entry.id, reg=entry))

    def pipe(self, inode: int, size: int, content: bytes) -> int:
        """The id of a pipe; its size and content are recorded once."""
        known = self._pipes.get(inode)
        if known is None:
            # CRIU uses the inode number, which is what makes it findable in messages.
            known = self._pipes[inode] = inode & 0xFFFFFFFF
            self._pipe_data.append((pipe_data_entry(pipe_id=known, bytes=len(content), size=size), content))
        return known

    def terminal(self, key: int, make: Callable[[int], tty_info_entry]) -> int:
        """The id of the record of terminal *key*, made by *make* the first time."""
        known = self._terminals.get(key)
        if known is None:
            known = self._terminals[key] = len(self._terminals) + 1
            self._terminal_info.append(make(known))
        return known

    def images(self) -> Images:
        """files, and pipes-data and tty-info if there is something in them."""
        found: Images = {"files": ("files", list(self.entries))}
        if self._pipe_data:
            found["pipes-data"] = ("pipes-data", list(self._pipe_data))
        if self._terminal_info:
            found["tty-info"] = ("tty-info", list(self._terminal_info))
        return found


def path_reader(files: Mapping[int, file_entry]) -> PathOf:
    """File id → absolute path, over a layer's `files`."""

    def path_by_id(ident: int) -> str:
        entry = files.get(ident)
        if entry is None or not entry.HasField("reg"):
            raise ImageError("damaged image", "files.img", f"it has no path of id {ident}")
        return path_of(entry.reg)

    return path_by_id


def path_blockers(files: Mapping[int, file_entry]) -> list[Blocker]:
    """Every file of a layer that is not as it was: open, mapped, executed, or a directory of a task. Terminals are not files here."""
    terminals = {entry.tty.regf_id for entry in files.values() if entry.HasField("tty")}
    found: dict[str, Blocker] = {}
    for entry in files.values():
        if entry.HasField("reg") and entry.id not in terminals and (blocker := changed(entry.reg)):
            found.setdefault(f"{blocker.obj}{blocker.why}", blocker)
    return list(found.values())


def refuse(what: str, obj: str, blockers: list[Blocker]) -> None:
    """Raise `RefusedError` if there is any blocker."""
    if blockers:
        raise RefusedError(what, obj, blockers=tuple(blockers))
