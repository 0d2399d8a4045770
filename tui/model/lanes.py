"""The graph of a stack: which parent each layer has, drawn as lanes next to the layers, newest first.

● 5          lane 0 waits for 4
● 4          lane 0 waits for 3
│ ● 3b       lane 1 waits for 3
●─╯ 3        3 takes lane 0; lane 1 ends in it
● 2
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def draw_lanes(layers: Sequence[tuple[K, K | None]]) -> list[str]:
    """One graph cell per layer, all of the same width.

    Args:
        layers: (layer, its parent or None), children before their parents. If a parent is not in the list, the lane ends.
    """
    known = {key for key, _ in layers}
    waiting: list[K | None] = []
    rows = []
    for key, parent in layers:
        mine = [at for at, wanted in enumerate(waiting) if wanted == key and wanted is not None]
        if mine:
            lane = mine[0]
        elif None in waiting:
            lane = waiting.index(None)
        else:
            lane = len(waiting)
            waiting.append(None)
        rows.append(_row(waiting, lane, mine))
        for at in mine:
            waiting[at] = None
        waiting[lane] = parent if parent in known else None
        while waiting and waiting[-1] is None:
            waiting.pop()
    width = max((len(row) for row in rows), default=0)
    return [row.ljust(width) for row in rows]


def _row(waiting: Sequence[object], lane: int, mine: Sequence[int]) -> str:
    last = mine[-1] if mine else lane
    text = ""
    for at, wanted in enumerate(waiting):
        joining = lane < at <= last
        if at == lane:
            text += "●"
        elif at in mine:
            text += "╯" if at == last else "┴"
        elif wanted is not None:
            text += "┼" if joining else "│"
        else:
            text += "─" if joining else " "
        text += "─" if lane <= at < last else " "
    return text
