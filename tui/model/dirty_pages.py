"""How much a tracked process has written since the layer that its next dump is compared with."""

from dataclasses import dataclass

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import PAGE

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 24


@dataclass(frozen=True)
class Dirty:
    """One count of what a tracked process has written.

    Attributes:
        identity: whose memory.
        pages: pages with data written since tracking last began anew.
        per_second: newly dirty pages per second, oldest first.
        anew: for each of these, whether a dump made counting begin anew meanwhile.
    """

    identity: Identity
    pages: int
    per_second: tuple[float, ...] = ()
    anew: tuple[bool, ...] = ()

    @property
    def bytes(self) -> int:
        """How much a dump would write now."""
        return self.pages * PAGE

    @property
    def graph(self) -> str:
        """The newest of `per_second` as bars, the highest full."""
        shown = self.per_second[-_SHOWN:]
        top = max(shown, default=0.0)
        return "".join(_BARS[round(value / top * (len(_BARS) - 1))] if top else _BARS[0] for value in shown)
