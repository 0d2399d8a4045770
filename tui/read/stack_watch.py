"""Notices that somebody else changed a stack: another lamina, a timed dump of the command line, or a hand that deletes."""

import os
from pathlib import Path


class StackWatch:
    """Looks at one directory at a time, called in worker threads: the times of its folders, not what is in them."""

    def __init__(self) -> None:
        self._seen: tuple[Path, object] | None = None

    def changed(self, path: Path) -> bool:
        """Whether there are other layers in *path* than when it was asked last, or some were written anew; False when asked first."""
        before, self._seen = self._seen, (path, _stamp(path))
        return before is not None and before[0] == path and before != self._seen


def _stamp(path: Path) -> object:
    try:
        with os.scandir(path) as entries:
            return path.stat().st_mtime_ns, {entry.name: entry.stat().st_mtime_ns for entry in entries if entry.is_dir()}
    except NotADirectoryError:
        return path.stat().st_mtime_ns
    except OSError:
        return None  # it is gone, or changes just now
