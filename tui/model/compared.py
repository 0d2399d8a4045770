"""What is compared."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Compared:
    """What is compared: layer *a* with layer *b* or, if that is None, with the process *pid*, which is called *name*."""

    a: Path
    b: Path | None
    pid: int = 0
    name: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """What the two sides are called."""
        return f"layer {self.a.name}", f"layer {self.b.name}" if self.b is not None else f"{self.name} {self.pid} now".lstrip()
