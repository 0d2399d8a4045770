"""What is wrong with a layer, as values: found by `verify`, shown by commands, refused by restore."""

from dataclasses import dataclass
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer


@dataclass(frozen=True)
class Finding:
    """One thing that stands in the way of using a layer.

    Attributes:
        layer: the directory it was found in.
        file: the file's name, or "" if it is about the layer as a whole.
        why: what is wrong with it, in words.
    """

    layer: Path
    file: str
    why: str

    @classmethod
    def of(cls, layer: Layer, file: str, why: str) -> "Finding":
        """About one of the layer's files."""
        return cls(layer.directory, file, why)

    @classmethod
    def from_error(cls, layer: Layer, file: str, error: ImageError) -> "Finding":
        """From what a reader raised while it was about *file*, unless the error names another."""
        path = Path(error.obj)
        if path.parent == layer.directory:
            return cls(layer.directory, path.name, error.why)
        return cls(layer.directory, file, error.why or str(error))

    def __str__(self) -> str:
        return f"{self.layer / self.file if self.file else self.layer}: {self.why}"
