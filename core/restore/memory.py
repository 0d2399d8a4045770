"""Steps 7 to 9 of a restore, the part about memory: the old areas away, the kernel's own moved, the image's areas mapped, filled, and given
their real protections. On the tracer thread only.
"""

from collections.abc import Iterator, Sequence

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import read_maps
from lamina.core.kinds.memory import area_notes, guards, special, vmas
from lamina.core.kinds.memory.vmas import AreaPlan
from lamina.core.objects.attempt import failures
from lamina.core.restore import layout
from lamina.core.restore.plan import TaskPlan
from lamina.core.restore.process import Rebuilding

_AREAS_AT_ONCE = 400
_PATH_BYTES_AT_ONCE = 128 << 10


def replace_areas(process: Rebuilding, task: TaskPlan, areas: Sequence[AreaPlan]) -> list[str]:
    """Step 7: unmap what exec made, move what only exec can make, map *areas*, which the image has.

    Returns what could not be set, as sentences.

    Raises:
        ImageError: the kernel's areas are not those of the image. LaminaError: a call failed, named.
    """
    moves = special.moves(task.entries, read_maps(process.pid))
    kept = [process.scratch, *((move.old, move.old + move.size) for move in moves)]
    calls = CallList()
    for start, end in layout.outside(kept):
        calls.add("munmap", start, end - start, expect=0, about="clear its memory")
    special.rebuild(moves, process.parking, calls)
    process.run(calls)
    # The instruction that steps the last call lies in the vdso, which may have moved.
    for move in moves:
        if move.old <= process.syscall < move.old + move.size:
            process.syscall += move.new - move.old
            break
    for some in _portions(areas):
        calls = CallList()
        vmas.make(some, calls)
        process.run(calls)
    sentences = []
    for at in range(0, len(task.notes), _AREAS_AT_ONCE):
        calls = CallList()
        attempts = area_notes.rebuild(task.notes[at : at + _AREAS_AT_ONCE], process.pid, calls)
        process.run(calls)
        sentences += failures(attempts)
    return sentences


def protect_areas(process: Rebuilding, task: TaskPlan) -> None:
    """Step 9: the guards, protections and locks of the image."""
    calls = CallList()
    guards.rebuild(task.guards, calls)
    process.run(calls)
    for some in _portions(task.areas):
        calls = CallList()
        vmas.protect(some, calls, task.guards)
        process.run(calls)


def _portions(areas: Sequence[AreaPlan]) -> Iterator[Sequence[AreaPlan]]:
    """As many at a time as their calls and paths fit the scratch range."""
    first = size = 0
    for at, area in enumerate(areas):
        size += len(area.path) * 2
        if at - first >= _AREAS_AT_ONCE or size > _PATH_BYTES_AT_ONCE:
            yield areas[first:at]
            first, size = at, len(area.path) * 2
    if areas[first:]:
        yield areas[first:]
