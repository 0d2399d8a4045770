"""How the task's kinds name files: by the id of an entry in files.img when saving, by path when rebuilding."""

from collections.abc import Callable
from typing import Protocol


class PathTable(Protocol):
    """Gives out file ids. `file_table.FileTable` is one."""

    def path(self, path: str, flags: int = 0) -> int:
        """The id of the regular-file entry for absolute *path* opened with *flags* (open(2)); the same pair has the same id."""
        ...

    def shared_memory(self, dev: str, inode: int) -> int:
        """The number of shared memory, by the device and inode that maps shows."""
        ...


PathOf = Callable[[int], str]
"""File id → absolute path. Raises `ImageError` for an id that files.img does not have or that is no path."""
