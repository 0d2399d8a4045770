"""How old each of the demo's cells is: dirty now by the tracker, else by the layer that owns its page. Called in worker threads."""

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.attach.procfs import PAGE, read_maps
from lamina.core.errors import LaminaError
from lamina.tui.demo.host import Cells
from lamina.tui.model.target import Target

if TYPE_CHECKING:
    from lamina.core.dirty.runs import PageRuns
    from lamina.core.dirty.scan import Scanner

_AGES = "█▓▒░"


class CellAges:
    """Keeps the owners of the pages of the last layer, and the page map of the process."""

    def __init__(self) -> None:
        self._layer: Path | None = None
        self._owned: list[tuple[str, PageRuns]] = []
        self._scanner: Scanner | None = None
        self._scanned: object = None

    def read(self, cells: Cells, target: Target | None) -> dict[int, str]:
        """Cell number → glyph, for the cells that a layer has or that changed since."""
        if target is None or not target.alive:
            return {}
        glyphs = {}
        for glyph, runs in self._owners(target):
            glyphs.update(dict.fromkeys(_within(cells, runs), glyph))
        if target.layer and target.tracker:
            glyphs.update(dict.fromkeys(_within(cells, self._dirty(cells, target)), "*"))
        return glyphs

    def _owners(self, target: Target) -> "list[tuple[str, PageRuns]]":
        if target.layer != self._layer:
            from lamina.core.image.layer import Layer
            from lamina.core.image.owners import resolve

            self._layer, self._owned = target.layer, []
            if target.layer is not None:
                chain = Layer(target.layer).chain()
                depth = {layer.key: at for at, layer in enumerate(chain)}
                self._owned = [
                    (_AGES[min(depth[share.layer.key], len(_AGES) - 1)], share.runs) for share in resolve(chain, target.pid).shares
                ]
        return self._owned

    def _dirty(self, cells: Cells, target: Target) -> "PageRuns":
        from lamina.core.dirty.runs import PageRuns
        from lamina.core.dirty.scan import Scanner

        end = cells.address + PAGE * len(cells.frozen)
        areas = [area for area in read_maps(target.pid) if area.start < end and area.end > cells.address]
        if self._scanner is None or self._scanned != target.identity:
            if self._scanner is not None:
                self._scanner.close()
            self._scanner, self._scanned = Scanner(target.identity), target.identity
        try:
            report = self._scanner.scan(areas, protect=False, live=False)
        except LaminaError:
            return PageRuns.empty()  # it has ended meanwhile
        return report.changed


def _within(cells: Cells, runs: "PageRuns") -> list[int]:
    inside = runs.clip(cells.address, cells.address + PAGE * len(cells.frozen))
    return [page for start, end in inside for page in range((start - cells.address) // PAGE, (end - cells.address) // PAGE)]
