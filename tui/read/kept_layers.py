"""Layers that were read once and did not change since: one step through a stack of a hundred decodes one layer, not a hundred."""

from pathlib import Path

from lamina.core.image.layer import MAX_DEPTH, Layer
from lamina.core.image.sidecar import NAME as SIDECAR

_Stamp = tuple[tuple[int, ...] | None, ...]


class KeptLayers:
    """Layers of one stack by their directories. For one thread at a time."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[_Stamp, Layer]] = {}

    def open(self, path: Path) -> Layer:
        """The layer at *path*, joined to its ancestors so that `Layer.chain` decodes none of them anew.

        Raises:
            ImageError: it or one of them is missing or damaged.
        """
        leaf = Layer(path)
        if self._kept and all(place.parent != leaf.directory.parent for place in self._kept):
            self._kept.clear()  # another stack
        leaf = layer = self._newest(leaf)
        for _ in range(MAX_DEPTH):
            above = layer.parent()
            if above is None:
                break
            kept = self._newest(above)
            if kept is not above:
                layer.adopt(kept)
            layer = kept
        return leaf

    def _newest(self, layer: Layer) -> Layer:
        """The one that is kept of the same directory, or *layer*, if it changed; in an archive it is not known whether it did."""
        if not layer.place.writable:
            return layer
        kept = self._kept.get(layer.directory)
        if kept is not None and kept[0] == _stamp(kept[1]):
            return kept[1]
        newest = layer if kept is None or kept[1] is not layer else Layer(layer.directory)
        self._kept[layer.directory] = (_stamp(newest), newest)
        return newest


def _stamp(layer: Layer) -> _Stamp:
    """Another one whenever a map, the sidecar or the pages of *layer* were written or exchanged."""
    maps = (f"pagemap-{which}.img" for which in layer.objects)
    pages = (layer.pages_name(which) for which in layer.objects)
    infos = (layer.info(name) for name in ("inventory.img", SIDECAR, *maps, *pages))
    return tuple(info.stamp if info is not None else None for info in infos)
