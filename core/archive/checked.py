"""Content compared, as it passes by, with what the sidecar says it was when it was written."""

import xxhash

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.sums import BLOCK


class Checked:
    """One file of a layer. Blocks with punched ranges are not compared: their content is gone."""

    def __init__(self, layer: Layer, name: str, size: int) -> None:
        """*size* is what it has now.

        Raises:
            ImageError: it was written with another size.
        """
        sidecar = layer.sidecar
        self._path = layer.file(name)
        self._expected = sidecar.checksums.get(name) if sidecar else None
        self._punched = sidecar.punched.get(name, PageRuns.empty()) if sidecar else PageRuns.empty()
        if self._expected is not None and self._expected.size != size:
            raise ImageError("damaged image", str(self._path), f"has {size} bytes, was written with {self._expected.size}")

    def block(self, data: bytes, at: int) -> int:
        """The checksum of the `BLOCK` bytes (the last ones fewer) at *at*.

        Raises:
            ImageError: they are not what was written.
        """
        found = xxhash.xxh3_64_intdigest(data)
        if self._expected is not None and found != self._expected.blocks[at // BLOCK] and not self._punched.clip(at, at + BLOCK):
            raise ImageError("damaged image", str(self._path), f"its content changed since it was written (checksum of MiB {at // BLOCK})")
        return found
