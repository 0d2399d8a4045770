"""Everything that differs between two sides, as one value. Nothing of it is text for people: the command line and the screen render it."""

from collections.abc import Callable
from dataclasses import dataclass

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken
from lamina.core.image.layer import Object
from lamina.core.inspect.areas import MemoryArea
from lamina.core.inspect.diff.areas import AreaChange, all_areas, diff_areas
from lamina.core.inspect.diff.counts import PageCounts, count_by_range
from lamina.core.inspect.diff.descriptors import DescriptorChange, diff_descriptors
from lamina.core.inspect.diff.pages import Done, PageDiff, diff_pages
from lamina.core.inspect.diff.sides import Side
from lamina.core.inspect.diff.tasks import Task, TaskDiff, diff_tasks, pair_tasks


@dataclass(frozen=True)
class AreaPages:
    """The pages of one area. *area* is side b's, or what of side a's is no longer mapped; None: pages in no area that is known."""

    area: MemoryArea | None
    counts: PageCounts


@dataclass(frozen=True, eq=False)
class MemoryDiff:
    """The pages of a task, or of a shared object, that both sides have memory of.

    Attributes:
        which: the task (its pid) or object ("shmem-ID") on side b; which_a: on side a.
        pages: all of them.
        areas: the same counted by area, those without any page left out; of a shared object one row without an area.
    """

    which: Object
    which_a: Object
    pages: PageDiff
    areas: tuple[AreaPages, ...]


@dataclass(frozen=True, eq=False)
class Difference:
    """What differs between side a and side b.

    Attributes:
        a, b: what was compared.
        by_map: contents were not read: pages at different places are "maybe".
        tasks, descriptors, areas, memory: what was found.
        shared_added, shared_gone: shared objects of one side only ("shmem-ID").
        notes: what is to be known about it, in sentences.
    """

    a: str
    b: str
    by_map: bool
    tasks: TaskDiff
    descriptors: tuple[DescriptorChange, ...]
    areas: tuple[AreaChange, ...]
    memory: tuple[MemoryDiff, ...]
    shared_added: tuple[str, ...]
    shared_gone: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether anything is not known to be the same."""
        tasks = self.tasks.added or self.tasks.gone or self.tasks.changed
        shared = self.shared_added or self.shared_gone
        return bool(tasks or shared or self.descriptors or self.areas or any(it.pages.differs for it in self.memory))


@dataclass(frozen=True)
class PagePair:
    """One page on both sides.

    Attributes:
        which: the task on side b.
        address: of its first byte.
        a, b: its content, or None where the side does not hold it.
    """

    which: int
    address: int
    a: bytes | None
    b: bytes | None


def diff_sides(a: Side, b: Side, contents: bool = True, cancel: CancelToken | None = None, done: Done | None = None) -> Difference:
    """Compare two sides. With *contents*, pages that lie at different places are read; *done* is told how many at a time.

    Raises:
        LaminaError: an image is damaged, or a process has ended.
        Cancelled: *cancel* was set.
    """
    pairs = pair_tasks(a.tasks, b.tasks)
    descriptors: list[DescriptorChange] = []
    areas: list[AreaChange] = []
    memory: list[MemoryDiff] = []
    compare = _Compare(a, b, contents, cancel, done)
    for one, other in pairs:
        mine, theirs = a.descriptors(one.pid), b.descriptors(other.pid)
        if mine is not None and theirs is not None:
            descriptors += diff_descriptors(other.pid, mine, theirs)
        before, after = a.areas(one.pid), b.areas(other.pid)
        if before is not None and after is not None:
            areas += diff_areas(other.pid, before, after)
        memory += compare.memory(one.pid, other.pid, all_areas(before or (), after or ()))
    shared = [which for which in a.shared if which in b.shared]
    for which in shared:
        memory += compare.memory(which, which, ())
    return Difference(
        a=a.name, b=b.name, by_map=not contents,
        tasks=diff_tasks(a.tasks, b.tasks, pairs),
        descriptors=tuple(descriptors), areas=tuple(areas), memory=tuple(memory),
        shared_added=tuple(which for which in b.shared if which not in shared),
        shared_gone=tuple(which for which in a.shared if which not in shared),
        notes=(*a.notes, *b.notes),
    )  # fmt: skip


@dataclass(frozen=True)
class _Compare:
    a: Side
    b: Side
    contents: bool
    cancel: CancelToken | None
    done: Callable[[int], None] | None

    def memory(self, which_a: Object, which: Object, areas: tuple[MemoryArea, ...]) -> list[MemoryDiff]:
        """The pages of one task or object; nothing if a side has no memory of it."""
        mine, theirs = self.a.pages_of(which_a), self.b.pages_of(which)
        if mine is None or theirs is None:
            return []
        try:
            pages = diff_pages(mine, theirs, self.contents, self.cancel, self.done)
        finally:
            mine.close()
            theirs.close()
        return [MemoryDiff(which, which_a, pages, _rows(pages, areas))]


def _rows(pages: PageDiff, areas: tuple[MemoryArea, ...]) -> tuple[AreaPages, ...]:
    everywhere = (0, (1 << 64) - 1)
    total, *counts = count_by_range(pages, [everywhere, *((area.start, area.end) for area in areas)])
    rows = [AreaPages(area, count) for area, count in zip(areas, counts, strict=True) if any(vars(count).values())]
    rest = {name: value - sum(getattr(row.counts, name) for row in rows) for name, value in vars(total).items()}
    return (*rows, AreaPages(None, PageCounts(**rest))) if any(rest.values()) else tuple(rows)


def read_pair(a: Side, b: Side, address: int, pid: int | None = None) -> PagePair:
    """The page at *address* on both sides, of task *pid* of side b; without *pid*, of the one task that has it.

    Raises:
        LaminaError: no task has it, or several do; or its content is lost.
    """
    start = address & -PAGE
    page = PageRuns.of([(start, start + PAGE)])
    found: list[PagePair] = []
    for one, other in pair_tasks(a.tasks, b.tasks):
        if pid is not None and other.pid != pid:
            continue
        sides = [_page(side, task, page) for side, task in ((a, one), (b, other))]
        if sides != [None, None]:
            found.append(PagePair(other.pid, start, sides[0], sides[1]))
    if len(found) == 1:
        return found[0]
    several = ", ".join(str(it.which) for it in found)
    why = f"tasks {several} have one there" if found else "neither side holds such a page" + (f" of task {pid}" if pid else "")
    raise ImageError("cannot show page", f"{start:#x}", why, f"say which: PID:{start:x}" if found else "")


def _page(side: Side, task: Task, page: PageRuns) -> bytes | None:
    held = side.pages_of(task.pid)
    if held is None:
        return None
    try:
        if held.lost & page:
            raise ImageError("cannot show page", f"{int(page.starts[0]):#x}", f"{side.name} has lost its content")
        if not held.runs & page:
            return None
        buffer = bytearray(PAGE)
        return None if held.read_into(page, memoryview(buffer)) else bytes(buffer)
    finally:
        held.close()
