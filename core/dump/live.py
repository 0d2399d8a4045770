"""Live pre-copy: copy while the target runs, in rounds of report-and-protect, until what is left is worth one short stop.

A freeze that had to copy everything would last as long as the copy (165–240 ms a GiB here); after two or three rounds it copies only what
was rewritten since the last one. A program that rewrites all of itself all the time gains nothing: rounds end when they stop shrinking.

Between the protection of a round and its copy lies a grace period. A page that was pinned when it was protected, as by a read with
O_DIRECT, gets its data later and without a fault: no scan would ever report it (docs/tracking.md, "Pinned pages").
"""

from collections.abc import Callable, Collection, Sequence

from lamina.core.attach.grace import grace_period
from lamina.core.attach.procfs import PAGE
from lamina.core.dump.meter import Meter
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.errors import TargetError
from lamina.core.events import CancelToken

MAX_ROUNDS = 5
# A round under this share of all pages copied so far is the last.
ENOUGH = 1 / 400
# Below this many pages (8 MiB, about 3 ms of copying) a live round costs more than it saves.
WORTH_IT = 2048


# Seconds that a round waits for a thread that is in a call which can pin memory: a disk's worst answer, and then some.
PATIENCE_S = 1.0

Pids = Callable[[], Collection[int]]
"""All processes whose threads may write into the memory of the tree: those in it now, and those that have left it since the dump began."""


def copy_live(memories: Sequence[TaskMemory], pids: Pids, expected: int, meter: Meter, cancel: CancelToken) -> int:
    """Rounds over all tasks until the residue is small, does not shrink by half, or `MAX_ROUNDS` are done.

    *expected*: pages the first round will find. Returns what the freeze has to expect, in pages: those of the last round, and those about
    which a thread that never came out of its call left a doubt.
    """
    total = 0
    last = expected
    for number in range(1, MAX_ROUNDS + 1):
        meter.phase(f"live round {number}", expected if number == 1 else 0)
        meter.live_rounds = number
        complete = _protect(memories, pids, meter)
        pages = sum(_copy(memory, meter, cancel) for memory in memories)
        if not complete:
            # All that was copied is copied again in the freeze, which waits for that thread: more rounds gain nothing.
            return sum(memory.doubtful.pages for memory in memories)
        total = max(total, pages)
        shrinking = number == 1 or pages < last / 2
        last = pages
        if pages <= total * ENOUGH or not shrinking:
            break
    return last


def _protect(memories: Sequence[TaskMemory], pids: Pids, meter: Meter) -> bool:
    """Report and protect in all tasks, then one grace period over all of them, as they may write into each other's memory.

    False if a thread did not come out of its call.
    """
    for memory in memories:
        try:
            memory.live_round()
        except TargetError:
            continue  # a child that ended; the freeze finds out what is left of the tree
    grace = grace_period(pids(), PATIENCE_S)
    if grace.complete:
        for memory in memories:
            memory.landed()
        return True
    call = f" in {grace.late_call}" if grace.late_call else ""
    meter.notice(
        f"thread {grace.late_tid} does not come back from the kernel{call}, where it may be given data: "
        "what was copied so far is copied again while the program stands still"
    )
    return False


def _copy(memory: TaskMemory, meter: Meter, cancel: CancelToken) -> int:
    def moved(size: int) -> None:
        meter.moved(size)
        cancel.check(f"dump of process {memory.pid}")

    try:
        return memory.copy_live(moved)
    except TargetError:
        return 0


def residue_room(pages_of_last_round: int) -> int:
    """Bytes of warm memory to have ready for the freeze: twice the last round, at least 8 MiB and at most 256 MiB."""
    return min(max(2 * pages_of_last_round, WORTH_IT), 65536) * PAGE
