"""files.img while it is made: ids for open file descriptions and for the paths that tasks name (executable, mapped files, directories)."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from google.protobuf.message import Message

from lamina.core.errors import Blocker, ImageError, TargetError
from lamina.core.image.schema import fd_types, file_entry
from lamina.core.image.supplement import Values
from lamina.core.objects.buildid import build_id_of
from lamina.core.objects.kind import CapturedFile, Key, KindTable, Saving
from lamina.core.objects.named_file import DELETED, changed, entry_of, path_of, reg_entry
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
        self._objects: dict[Key, int] = {}
        self._idents: dict[CapturedFile, int] = {}
        self._records: dict[str, list[Message | tuple[Message, bytes]]] = {}

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
        ident = self.ident(file)
        if kept := file.kind.supplement(file):
            self.supplements[ident] = kept
        return self._add(file.kind.save(file, ident, self))

    def ident(self, file: CapturedFile) -> int:
        """The id of a captured description: chosen when it is first asked for."""
        if file not in self._idents:
            self._idents[file] = self._next()
        return self._idents[file]

    def named_file(self, raw: RawFd) -> int:
        """The id of a new regular-file entry for the path of *raw*."""
        entry = entry_of(self._next(), raw)
        return self._add(file_entry(type=fd_types.REG, id=entry.id, reg=entry))

    def once(self, key: Key, make: Callable[[], int]) -> int:
        """The id of object *key*, chosen and recorded by *make* the first time."""
        if key not in self._objects:
            self._objects[key] = make()
        return self._objects[key]

    def shared_memory(self, dev: str, inode: int) -> int:
        """The number of shared memory that was made known by `once(("shared memory", dev, inode), …)`."""
        return self._objects["shared memory", dev, inode]

    def put(self, image: str, record: Message, content: bytes | None = None) -> None:
        """Append a record, and what follows it, to an image."""
        self._records.setdefault(image, []).append(record if content is None else (record, content))

    def count(self, image: str) -> int:
        """How many records an image has."""
        return len(self._records.get(image, ()))

    def images(self) -> Images:
        """files, and every other image that something was put into."""
        return {"files": ("files", list(self.entries)), **{name: (name, list(records)) for name, records in self._records.items()}}


def path_reader(files: Mapping[int, file_entry]) -> PathOf:
    """File id → absolute path, over a layer's `files`."""

    def path_by_id(ident: int) -> str:
        entry = files.get(ident)
        if entry is None or not entry.HasField("reg"):
            raise ImageError("damaged image", "files.img", f"it has no path of id {ident}")
        return path_of(entry.reg)

    return path_by_id


def path_blockers(files: Mapping[int, file_entry], kinds: KindTable) -> list[Blocker]:
    """Every file of a layer that is not as it was: open, mapped, executed, or a directory of a task; without what is part of a record."""
    parts = {ident for entry in files.values() if (kind := kinds.of_entry(entry)) for ident in kind.own_files(entry)}
    found: dict[str, Blocker] = {}
    for entry in files.values():
        if entry.HasField("reg") and entry.id not in parts and (blocker := changed(entry.reg)):
            found.setdefault(f"{blocker.obj}{blocker.why}", blocker)
    return list(found.values())
