"""The memory of all tasks of one dump: each with its tracker, what it may inherit, and where it is copied to."""

from lamina.core.dirty.runs import PageRuns
from lamina.core.dump.destination import Destination
from lamina.core.dump.lineage import Lineage
from lamina.core.dump.memory import Space, WarmMemory
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.dump.watched import WatchedTree


class Memories:
    """One `TaskMemory` for each task that was looked at. They share the warm memory that the freeze copies into."""

    def __init__(self, tree: WatchedTree, lineage: Lineage) -> None:
        self._tree = tree
        self._lineage = lineage
        self._warm = WarmMemory()
        self._by_pid: dict[int, TaskMemory] = {}
        self._pages_ids = 0

    def reserve(self, size: int) -> None:
        """Touch *size* bytes now, so that copying into them in the freeze waits for no page fault."""
        self._warm.reserve(size)

    @property
    def warm(self) -> WarmMemory:
        """What the freeze copies into."""
        return self._warm

    def of(self, pid: int) -> TaskMemory:
        """The memory of task *pid*; before the first scan if nobody asked for it yet."""
        if pid not in self._by_pid:
            task = self._tree.of(pid)
            state = task.remembered.state if task.was_armed else None
            parent = self._lineage.inheritable(pid, state) if state else PageRuns.empty()
            self._by_pid[pid] = TaskMemory(pid, task.tracker, parent)
        return self._by_pid[pid]

    def known(self, pid: int) -> TaskMemory | None:
        """As `of`, or None if nobody asked for it yet."""
        return self._by_pid.get(pid)

    def forget(self, pid: int) -> TaskMemory | None:
        """What was found about *pid* is void; returns it."""
        return self._by_pid.pop(pid, None)

    def next_pages_id(self) -> int:
        """The number of the next pages file."""
        self._pages_ids += 1
        return self._pages_ids

    def begin(self, pid: int, destination: Destination) -> TaskMemory:
        """As `of`, ready to be copied to a new sink of *destination*; to the one it has if it has one."""
        memory = self.of(pid)
        if not memory.begun:
            pages_id = self.next_pages_id()
            memory.begin(destination.sink(Space(pid, pid), pages_id, self._warm))
        return memory
