"""The clocks of a restored program.

criu records what CLOCK_MONOTONIC and CLOCK_BOOTTIME said at the dump (timens-ID.img, of every set since 3.14), and restores into a
time namespace in which they go on from there (time_namespaces(7)). We leave that out: on the same boot the machine's clocks have only
gone on, as for a program that did not run for a while. How far is said; and if they have not, because the machine was booted since.
"""

import time
from collections.abc import Iterable

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.schema import timens_entry
from lamina.core.objects.task_kind import TaskKind


class Clocks(TaskKind[None]):
    """What the program's monotonic clock does at a restore."""

    name = "clocks"

    def notices(self, layer: Layer) -> Iterable[str]:
        """How far it has gone on, if the layer says what it was; else nothing.

        Raises:
            ImageError: timens-ID.img is damaged.
        """
        images = [name for name in layer.names() if name.startswith("timens-") and name.endswith(".img")]
        then = _recorded(layer, images[0]) if images else layer.inventory.dump_uptime / 1e6
        ahead = time.clock_gettime(time.CLOCK_MONOTONIC) - then
        if ahead < 0 and then:
            booted = "the machine was booted since the dump"
            yield f"{booted}: the program's monotonic clock steps back by {-ahead:,.0f} s, and timeouts it has set may wait that long"
        elif images:
            yield f"{images[0]}: no time namespace is made; the program's monotonic clock has gone on by {ahead:,.0f} s"


def _recorded(layer: Layer, name: str) -> float:
    entries = [entry for entry in fmt.decode_image(layer.read(name), "timens") if isinstance(entry, timens_entry)]
    if len(entries) != 1:
        raise ImageError("damaged image", str(layer.file(name)), f"holds {len(entries)} records where one is expected")
    return float(entries[0].monotonic.tv_sec) + entries[0].monotonic.tv_nsec / 1e9
