"""The process that is to be tracked, dumped or ended."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """The process an operation is about; *stack* is None if the place for its layers is still to be found."""

    pid: int
    name: str
    tracked: bool
    stack: Path | None
