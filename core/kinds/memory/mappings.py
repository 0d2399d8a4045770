"""The mappings of a task as one kind: their records, and what sticks to some of them and no record has a field for.

How one mapping is recognised, saved and made again is in `vmas.py`, `guards.py`, `area_notes.py`; a restore makes them in its own steps
(`restore/memory.py`), since pages come in between.
"""

from collections.abc import Iterator, Sequence

from lamina.core.attach.calls import Inside
from lamina.core.attach.procfs import Area
from lamina.core.dirty.runs import PageRuns
from lamina.core.image.records import areas as records
from lamina.core.image.supplement import AreaNote
from lamina.core.kinds.memory import area_notes, guards, vmas
from lamina.core.kinds.memory.mempolicy import AreaPolicies
from lamina.core.objects.task_kind import CapturedTask, TaskImages, TaskKind, TaskRecord


class Mappings(TaskKind[tuple[Sequence[Area], PageRuns]]):
    """(mappings, guard pages in them)."""

    name = "mappings"
    image = "mm"

    def read(self, seen: CapturedTask) -> tuple[Sequence[Area], PageRuns]:
        """The tree that was frozen has them already."""
        return seen.areas, seen.guards

    def save(self, value: tuple[Sequence[Area], PageRuns], images: TaskImages) -> None:
        """Guard pages after all others."""
        areas, runs = value
        images.mm.vmas.extend([*vmas.save(areas, images.files), *guards.save(runs)])

    def damage(self, record: TaskRecord) -> Iterator[str]:
        """What mmap(2), mprotect(2) and madvise(2) cannot have made."""
        yield from records.damage(record.mm.vmas)
        if not record.mm.vmas:
            yield "it has no areas"

    def unsupported(self, record: TaskRecord) -> Iterator[str]:
        """Memory of other kinds, and rings of io_setup(2), which are memory and kernel objects at once."""
        yield from records.unsupported(record.mm.vmas)
        if record.mm.aios:
            yield "it has rings for asynchronous input and output (io_setup), which are not supported"


class MappingNotes(TaskKind[Sequence[AreaNote]]):
    """Names, NUMA policies, locks that wait for the first touch."""

    name = "mapping notes"

    def prepare(self, areas: Sequence[Area]) -> AreaPolicies:
        """Calls that ask for the policies: thousands, if there are thousands of mappings."""
        return AreaPolicies(areas)

    def take(self, prepared: AreaPolicies, areas: Sequence[Area], leader: Inside) -> dict[int, str]:
        """Address → policy, of mappings that have one."""
        return (prepared if prepared.areas == areas else AreaPolicies(areas)).read(leader)

    def read(self, seen: CapturedTask) -> Sequence[AreaNote]:
        """All of them, by address."""
        return area_notes.save(area_notes.notes(seen.taken[self.name], seen.areas), seen.areas)

    def area_notes(self, value: Sequence[AreaNote]) -> Sequence[AreaNote]:
        """As they are."""
        return value
