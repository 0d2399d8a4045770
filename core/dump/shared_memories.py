"""The shared anonymous memory of one dump: each object once, whoever of the tree maps it (`lamina.core.dirty.shared_memory`)."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from lamina.core.attach.procfs import PAGE, Area, describe, read_maps
from lamina.core.dirty.runs import PageRuns
from lamina.core.dirty.shared_memory import (
    Key,
    Mapped,
    SharedObject,
    SharedTracker,
    Witness,
    mappers_outside,
    mappings_of,
    note_outside,
    text,
)
from lamina.core.dirty.tracker import Report
from lamina.core.dump.destination import Destination
from lamina.core.dump.lineage import Lineage
from lamina.core.dump.memories import Memories
from lamina.core.dump.memory import Moved, PageStore, Space
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.dump.watched import WatchedTree
from lamina.core.errors import TargetError
from lamina.core.image.layer import Layer
from lamina.core.image.owners import covered, resolve

_STEP = 1 << 20


class SharedMemory(TaskMemory):
    """One object between the first scan and the finished pages file. Addresses are those of our own mapping of it.

    Attributes:
        number: what the layer knows it by: its pages are those of "shmem-NUMBER".
        compared: why all of it was copied in the freeze, to be compared with the parent's pages after it; "" if nothing was.
    """

    tracker: SharedTracker  # type: ignore[assignment]  # it scans mappings of several tasks, not areas of one

    def __init__(self, shared: SharedObject, number: int, tracker: SharedTracker, parents: Sequence[Layer]) -> None:
        """*parents*: the chain whose pages may be inherited, nearest first."""
        self.object = shared
        self.number = number
        self._parents = parents if parents and self.which in parents[0].held else ()
        parent = covered(self._parents, self.which) if self._parents else PageRuns.empty()
        super().__init__(os.getpid(), tracker, parent.shifted(shared.base))  # type: ignore[arg-type]
        self.compared = ""

    @property
    def which(self) -> str:
        """Its name in a layer."""
        return f"shmem-{self.number}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.object.size

    def look_at(self, mappings: Sequence[Mapped]) -> int:
        """Pages that the layer would have to own if the target stopped now, given its mappings."""
        self.tracker.mappings = mappings
        return self.expected(self.tracker.peek()).pages

    def live_round(self) -> None:
        """As of a task; new mappings are found in the freeze."""
        self.protect_live(())

    def _report(self, areas: Iterable[Area], live: bool) -> Report:
        return self.tracker.protect(live)

    def distrust(self, why: str) -> None:
        """Inside the freeze, before its last round: somebody may have written unseen. All of it is copied, and compared after the thaw."""
        self.compared = why
        self.parent = PageRuns.empty()
        self.doubtful |= self.store.spooled

    def freeze_round(self, areas: Iterable[Area], moved: Moved, straight: bool) -> None:
        """As of a task. An inherited page that is zero now was punched out (MADV_REMOVE) and read again: no layer has zeros."""
        super().freeze_round(areas, moved, straight)
        if self.inherited:
            self.inherited -= self.object.zero(self.inherited)

    def finish(self, moved: Moved) -> None:
        """As of a task; what was copied only to be compared, and is as the parent has it, is inherited."""
        if self.compared and self._parents and isinstance(self.store, PageStore):
            same = self._equal_to_parent(self.store)
            self.own -= same
            self.inherited |= same
        super().finish(moved)

    def _equal_to_parent(self, store: PageStore) -> PageRuns:
        found: list[tuple[int, int]] = []
        for share in resolve(self._parents, self.which).shares:
            runs = share.runs.shifted(self.object.base)
            with share.open() as content:
                for piece in store.pieces(self.own & runs):
                    begin = int(np.searchsorted(runs.ends, piece.address, side="right"))
                    offset = int(share.offsets[begin]) + piece.address - int(runs.starts[begin])
                    for at in range(0, piece.size, _STEP):
                        size = min(_STEP, piece.size - at)
                        ours, theirs = store.read(piece, size, at), content.pread(size, offset + at)
                        found += _equal_pages(piece.address + at, ours, theirs)
        return PageRuns.of(found)


def _equal_pages(address: int, ours: bytes, theirs: bytes) -> Iterator[tuple[int, int]]:
    one, other = (np.frombuffer(raw, np.uint64).reshape(-1, PAGE // 8) for raw in (ours, theirs))
    for page in np.flatnonzero((one == other).all(axis=1)).tolist():
        yield address + page * PAGE, address + (page + 1) * PAGE


class SharedMemories:
    """All objects of the tree."""

    def __init__(self, tree: WatchedTree, lineage: Lineage, memories: Memories, remembered: str) -> None:
        """*remembered*: `witness` of the dump whose layer the tree stands on; "" if there is none."""
        self._tree = tree
        self._memories = memories
        self._inherits = bool(lineage.parent and not lineage.why_not)
        self._parents = lineage.parent.chain() if lineage.parent and self._inherits else ()
        # Asked now: a dump writes "unsettled" before it protects the first page.
        self._counts_from_parent = {
            task.pid for task in tree if task.was_armed and (state := task.remembered.state).settled and state.layer_id == lineage.layer_id
        }
        self._since_parent = _load(remembered)
        self._since_live: Witness | None = None
        self._outside: dict[Key, int] = {}
        self._by_key: dict[Key, SharedMemory] = {}
        self._left: list[SharedMemory] = []
        self._now: Witness | None = None

    def __iter__(self) -> Iterator[SharedMemory]:
        return iter(self._by_key.values())

    @property
    def numbers(self) -> dict[Key, int]:
        """Key → the number that the layer knows an object by."""
        return {key: memory.number for key, memory in self._by_key.items()}

    @property
    def witness(self) -> str:
        """To be remembered with the layer: who had what mapped in the freeze."""
        return json.dumps(vars(self._now)) if self._now and self._by_key else ""

    # -- before the freeze -------------------------------------------------------------------------------------------------------------

    def look(self, areas: Mapping[int, Iterable[Area]]) -> int:
        """Pages the layer would have to own if the target stopped now."""
        self._found(mappings_of(areas))
        self._outside = mappers_outside(self._by_key, areas)
        for memory in self:
            if memory.parent:
                memory.object.warm()
        return sum(memory.look_at(memory.tracker.mappings) for memory in self)

    def begin_live(self, destination: Destination) -> list[SharedMemory]:
        """Before the first page is protected: what live rounds copy. All mappings must be watched."""
        areas = {}
        for task in self._tree.alive():
            with suppress(TargetError):
                areas[task.pid] = read_maps(task.pid)
        mappings = mappings_of(areas)
        self._found(mappings)
        self._since_live = Witness.of(areas, mappings, {})
        return [self._begin(memory, destination) for memory in self]

    def _found(self, mappings: Mapping[Key, Sequence[Mapped]]) -> None:
        for key in self._by_key.keys() - mappings.keys():
            self._left.append(self._by_key.pop(key))
        for key, mapped in mappings.items():
            if key not in self._by_key:
                shared = SharedObject(key, mapped)
                tracker = SharedTracker(shared, lambda pid: self._tree.of(pid).tracker)
                self._by_key[key] = SharedMemory(shared, self._number(key), tracker, self._parents)
            self._by_key[key].tracker.mappings = mapped

    def _number(self, key: Key) -> int:
        """What the parent knows it by; else its inode, as criu does, if nothing there is called so."""
        known = self._since_parent.ids if self._since_parent else {}
        number = known.get(text(key), key[1])
        taken = {*self.numbers.values(), *(other for name, other in known.items() if name != text(key))}
        while number in taken:
            number += 1
        return number

    def _begin(self, memory: SharedMemory, destination: Destination) -> SharedMemory:
        if not memory.begun:
            space = Space(memory.pid, memory.which, memory.object.base)
            memory.begin(destination.sink(space, self._memories.next_pages_id(), self._memories.warm))
        return memory

    # -- in the freeze -----------------------------------------------------------------------------------------------------------------

    def freeze_round(
        self, areas: Mapping[int, Iterable[Area]], destination: Destination, moved: Moved, straight: bool,
        reaps_unseen: Callable[[], bool],
    ) -> None:  # fmt: skip
        """After the last round of all tasks. *areas*: of all living ones; *reaps_unseen*: see `Witness.why_not`."""
        mappings = mappings_of(areas)
        if not mappings:
            return
        self._found(mappings)
        self._now = Witness.of(areas, mappings, self.numbers)
        for key, memory in self._by_key.items():
            self._begin(memory, destination)
            if why := self._why_not(key, memory, reaps_unseen):
                memory.distrust(why)
            memory.freeze_round((), moved, straight)
            if memory.tracker.untracked and not memory.compared and (memory.parent or memory.store.spooled):
                memory.distrust("a task that maps it is not watched")
                memory.freeze_round((), moved, straight)

    def _why_not(self, key: Key, memory: SharedMemory, reaps_unseen: Callable[[], bool]) -> str:
        """Why what was seen of it is not all; "" if it is, or if nothing rests on it."""
        if not (memory.parent or memory.store.spooled) or self._now is None:
            return ""
        if key in self._outside:
            return f"{describe(self._outside[key])}, outside the tree, maps it, too"
        for rests, since in ((memory.parent, self._since_parent), (memory.store.spooled, self._since_live)):
            if rests:
                why = since.why_not(self._now, key, reaps_unseen) if since else "nothing is known of who had it"
                if why:
                    return why
        for pid in {one.pid for one in memory.tracker.mappings} if memory.parent else ():
            if pid not in self._counts_from_parent:
                return f"{describe(pid)}, which maps it, was not tracked from that layer on"
        return ""

    def notices(self) -> Iterator[str]:
        """What the user should know."""
        for memory in self:
            if memory.compared:
                yield f"shared memory of {memory.size >> 10} KiB was copied whole while the program stood still: {memory.compared}"
        for key, pid in self._outside.items():
            yield note_outside(key, pid)

    # -- the end -----------------------------------------------------------------------------------------------------------------------

    def give_back(self) -> None:
        """The dump failed. Errors hide no other."""
        for memory in self:
            with suppress(TargetError):
                memory.give_back()

    def close(self) -> None:
        """Let go of the objects."""
        for memory in (*self, *self._left):
            memory.object.close()


def _load(remembered: str) -> Witness | None:
    try:
        return Witness(**json.loads(remembered)) if remembered else None
    except (ValueError, TypeError):
        return None
