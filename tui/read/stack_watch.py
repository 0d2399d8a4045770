"""Notices when somebody else has changed a stack: another lamina, a timed dump of the command line, or rm."""

import os
from pathlib import Path


class StackWatch:
    """Watches the times of the folders in one directory, not what is in them. Called in worker threads."""

    def __init__(self) -> None:
        self._seen: tuple[Path, object] | None = None

    def changed(self, path: Path) -> bool:
        """Whether the layers in *path* have changed since the last call; False the first time."""
        before, self._seen = self._seen, (path, _stamp(path))
        return before is not None and before[0] == path and before != self._seen


def _stamp(path: Path) -> object:
    try:
        with os.scandir(path) as entries:
            return path.stat().st_mtime_ns, {entry.name: entry.stat().st_mtime_ns for entry in entries if entry.is_dir()}
    except NotADirectoryError:
        return path.stat().st_mtime_ns
    except OSError:
        return None  # it is gone, or is changing just now
