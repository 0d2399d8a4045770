"""Live pre-copy: copy while the target runs, in rounds of report-and-protect, until what is left is worth one short stop.

A freeze that had to copy everything would last as long as the copy (165–240 ms a GiB here); after two or three rounds it copies only what
was rewritten since the last one. A program that rewrites all of itself all the time gains nothing: rounds end when they stop shrinking.
"""

from collections.abc import Sequence

from lamina.core.attach.procfs import PAGE, read_maps
from lamina.core.dump.meter import Meter
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.errors import TargetError
from lamina.core.events import CancelToken

MAX_ROUNDS = 5
# A round under this share of all pages copied so far is the last.
ENOUGH = 1 / 400
# Below this many pages (8 MiB, about 3 ms of copying) a live round costs more than it saves.
WORTH_IT = 2048


def copy_live(memories: Sequence[TaskMemory], expected: int, meter: Meter, cancel: CancelToken) -> int:
    """Rounds over all tasks until the residue is small, does not shrink by half, or `MAX_ROUNDS` are done.

    *expected*: pages the first round will find. Returns the pages of the last round: what the freeze has to expect.
    """
    total = 0
    last = expected
    for number in range(1, MAX_ROUNDS + 1):
        meter.phase(f"live round {number}", expected if number == 1 else 0)
        meter.live_rounds = number
        pages = sum(_round(memory, meter, cancel) for memory in memories)
        total = max(total, pages)
        shrinking = number == 1 or pages < last / 2
        last = pages
        if pages <= total * ENOUGH or not shrinking:
            break
    return last


def _round(memory: TaskMemory, meter: Meter, cancel: CancelToken) -> int:
    def moved(size: int) -> None:
        meter.moved(size)
        cancel.check(f"dump of process {memory.pid}")

    try:
        areas = read_maps(memory.pid)
        memory.tracker.extend(areas)
        return memory.live_round(areas, moved)
    except TargetError:
        return 0  # a child that ended; the freeze finds out what is left of the tree


def residue_room(pages_of_last_round: int) -> int:
    """Bytes of warm memory to have ready for the freeze: twice the last round, at least 8 MiB and at most 256 MiB."""
    return min(max(2 * pages_of_last_round, WORTH_IT), 65536) * PAGE
