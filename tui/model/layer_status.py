"""What is known of a process that has layers or is tracked."""

from dataclasses import dataclass

from lamina.tui.model.dirty_pages import Dirty


@dataclass(frozen=True)
class LayerStatus:
    """What is known of a process that is on a layer or tracked.

    Attributes:
        layers: how many layers its stack holds.
        freeze_us: how long the dump of its last layer froze it, µs; 0 if not known.
        dirty: what it wrote since; None if it is not tracked.
    """

    layers: int = 0
    freeze_us: int = 0
    dirty: Dirty | None = None

    @property
    def per_second(self) -> float | None:
        """Newly dirty pages per second as last measured; None before the second count."""
        return self.dirty.per_second[-1] if self.dirty is not None and self.dirty.per_second else None
