"""The layers marked for a comparison: at most two."""

from collections.abc import Sequence
from pathlib import Path

from lamina.tui.model.compared import Compared
from lamina.tui.model.layers import LayerRow

MOST = 2


class Marks:
    """Which layers are marked, in the order in which they were."""

    def __init__(self) -> None:
        self._paths: list[Path] = []

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def keep(self, rows: Sequence[LayerRow]) -> None:
        """Forget marks on layers that are not among *rows*: dropped, or of another stack."""
        known = {row.path for row in rows}
        self._paths = [path for path in self._paths if path in known]

    def toggle(self, path: Path) -> None:
        """Mark *path*, or take its mark away; a third mark takes away the first."""
        if path in self._paths:
            self._paths.remove(path)
        else:
            self._paths = [*self._paths, path][-MOST:]

    def compared(self, rows: Sequence[LayerRow], cursor: LayerRow) -> Compared | None:
        """What is compared, the older layer first; None if there is only one layer.

        It is the two marked ones, or the marked one and that under the *cursor*, or that and its parent.

        Args:
            rows: the layers of the stack, newest first; marks on other layers are ignored.
        """
        known = [row.path for row in rows]
        chosen = [path for path in self._paths if path in known]
        if len(chosen) < MOST and cursor.path not in chosen:
            chosen.append(cursor.path)
        if len(chosen) < MOST and cursor.parent is not None:
            return Compared(cursor.parent, cursor.path)
        if len(chosen) < MOST:
            return None
        newer, older = sorted(chosen, key=known.index)
        return Compared(older, newer)
