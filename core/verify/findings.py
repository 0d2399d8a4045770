"""What is wrong with a layer, as values: found by `verify`, shown by commands, refused by restore."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from lamina.core.errors import ImageError, in_one_line
from lamina.core.image.layer import Layer


class Severity(IntEnum):
    """How much a finding matters; the higher, the worse."""

    NOTICE = 0  # worth knowing; nothing is wrong
    SUSPICIOUS = 1  # not as it should be, but nothing that a restore needs
    UNSUPPORTED = 2  # whole, but a restore of ours cannot put it back; criu may
    STOPS = 3  # a restore would fail, or run on wrong memory

    def __str__(self) -> str:
        return {0: "notice", 1: "suspicious", 2: "not supported", 3: "stops a restore"}[self.value]


@dataclass(frozen=True)
class Finding:
    """One thing that was found about a layer.

    Attributes:
        layer: the directory it was found in.
        file: the file's name, or "" if it is about the layer as a whole.
        why: what is wrong with it, in words.
        fix: what the user can do about it; may be empty.
        severity: how much it matters.
    """

    layer: Path
    file: str
    why: str
    fix: str = ""
    severity: Severity = Severity.STOPS

    @classmethod
    def of(cls, layer: Layer, file: str, why: str, severity: Severity = Severity.STOPS, fix: str = "") -> "Finding":
        """About one of the layer's files."""
        return cls(layer.directory, file, why, fix, severity)

    @classmethod
    def from_error(cls, layer: Layer, file: str, error: ImageError, severity: Severity = Severity.STOPS) -> "Finding":
        """From what a reader raised while it was about *file*, unless the error names another."""
        path = Path(error.obj)
        name = path.name if path.parent == layer.directory else file
        return cls(layer.directory, name, error.why or str(error), error.fix, severity)

    @property
    def stops(self) -> bool:
        """Whether something is missing or damaged, so that nobody can restore it."""
        return self.severity is Severity.STOPS

    @property
    def refused(self) -> bool:
        """Whether our restore refuses it."""
        return self.severity >= Severity.UNSUPPORTED

    def __str__(self) -> str:
        text = f"{self.layer / self.file if self.file else self.layer}: {self.why}"
        return in_one_line(text + (f" ({self.fix})" if self.fix else ""))
