"""Memory that tasks share and no file has (mmap(2) with MAP_SHARED and MAP_ANONYMOUS): one object, seen through all mappings of it.

An object is a file of the kernel's own tmpfs without a name. It is found by the device and inode that /proc/PID/maps shows, opened through
/proc/PID/map_files, and mapped here for reading: an address in that mapping stands for an offset in the object, so that everything that
copies pages of a process copies those of an object as pages of our own.

What changed is the union of what all mappings in the tree saw. That is all only if nobody can have written past them: see `Witness`.
"""

import mmap
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import SHARED_MEMORY, Area, describe, read_maps
from lamina.core.dirty.regions import new_array, runs_of
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.tracker import Report, Tracker
from lamina.core.errors import TargetError
from lamina.core.ffi import C, check, ffi, new_error

Key = tuple[str, int]
"""Device and inode of an object, as maps shows them."""
_MADV_POPULATE_READ: Final = 22
SHOWN: Final = tuple(start.encode() for start in SHARED_MEMORY)
"""One of these is in the raw maps of every process that has shared memory."""


@dataclass(frozen=True, order=True)
class Mapped:
    """One mapping of an object: from *start* to *end* in process *pid*, from byte *offset* of the object on."""

    pid: int
    start: int
    end: int
    offset: int

    @classmethod
    def of(cls, pid: int, area: Area) -> "Mapped":
        """The mapping of a line of maps."""
        return cls(pid, area.start, area.end, area.offset)


def mappings_of(areas_by_pid: Mapping[int, Iterable[Area]]) -> dict[Key, list[Mapped]]:
    """All objects of shared memory that tasks map, with their mappings."""
    found: dict[Key, list[Mapped]] = {}
    for pid, areas in areas_by_pid.items():
        for area in areas:
            if area.is_shared_memory:
                found.setdefault((area.dev, area.inode), []).append(Mapped.of(pid, area))
    return found


class SharedObject:
    """One object, open for reading. `close` it.

    Attributes:
        key: which one; size: bytes, whole pages.
        base: where it is mapped here.
    """

    def __init__(self, key: Key, mappings: Sequence[Mapped]) -> None:
        """Open it through one of *mappings*.

        Raises:
            TargetError: none of them is there any more.
        """
        self.key = key
        self._fd = _open(key, mappings)
        self.size = -(-os.fstat(self._fd).st_size // PAGE) * PAGE
        self._view = mmap.mmap(self._fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._buffer = ffi.from_buffer(self._view)
        self.base = int(ffi.cast("uintptr_t", self._buffer))

    def data(self) -> PageRuns:
        """The pages that are there, in memory or in swap, as addresses of our mapping."""
        return _searched(lambda array, err: C.lm_file_data(self._fd, self.size, array, err)).shifted(self.base)

    def warm(self) -> None:
        """Bring what is there into our page table, so that reading it in a freeze meets no page fault. Not before Linux 5.14."""
        for start, end in self.data():
            with suppress(OSError):
                self._view.madvise(_MADV_POPULATE_READ, start - self.base, end - start)

    def zero(self, runs: PageRuns) -> PageRuns:
        """Those of *runs*, addresses of our mapping where there is data, that are all zero."""
        starts, ends = np.ascontiguousarray(runs.starts), np.ascontiguousarray(runs.ends)
        columns = [ffi.from_buffer("uint64_t[]", edges) for edges in (starts, ends)]
        return _searched(lambda array, err: C.lm_zero_pages(*columns, len(runs), array, err))

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._fd >= 0:
            ffi.release(self._buffer)
            self._view.close()
            os.close(self._fd)
            self._fd = -1


def _open(key: Key, mappings: Iterable[Mapped]) -> int:
    for mapped in mappings:
        try:
            fd = os.open(f"/proc/{mapped.pid}/map_files/{mapped.start:x}-{mapped.end:x}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise TargetError("cannot reach the shared memory of", describe(mapped.pid), why, "run lamina as root") from error
        if os.fstat(fd).st_ino == key[1]:
            return fd
        os.close(fd)
    raise TargetError("cannot reach", f"shared memory {key[1]}", "it is not mapped any more", "dump it again")


def _searched(search: Callable[[Any, Any], int]) -> PageRuns:
    array, err = new_array(), new_error()
    check(search(array, err), err)
    return runs_of(array)


class SharedTracker:
    """What all mappings of one object saw, as a `Tracker` sees private memory; addresses are those of `SharedObject.base`.

    Attributes:
        mappings: those in the tree now; to be set before each scan.
        untracked: whether the last scan met a mapping that nobody watches.
    """

    def __init__(self, shared: SharedObject, tracker_of: Callable[[int], Tracker]) -> None:
        self._object = shared
        self._tracker_of = tracker_of
        self.mappings: Sequence[Mapped] = ()
        self.untracked = False

    def peek(self) -> Report:
        """As `protect`, and changes nothing."""
        return self._scan(protect=False, live=True)

    def protect(self, live: bool) -> Report:
        """As `Tracker.protect`, of all mappings; of a running target those of tasks that have ended are left out."""
        return self._scan(protect=True, live=live)

    def _scan(self, protect: bool, live: bool) -> Report:
        written, self.untracked = PageRuns.empty(), False
        for pid, mapped in self._by_pid().items():
            areas = [Area(one.start, one.end, "rw-s", one.offset, *self._object.key, "") for one in mapped]
            try:
                seen, untracked = self._tracker_of(pid).scan_shared(areas, protect, live)
            except TargetError:
                if live:
                    continue
                raise
            self.untracked |= bool(untracked)
            for one in mapped:
                written |= self._within(one, seen)
        data = self._object.data()
        return Report(written & data, data, PageRuns.empty(), PageRuns.empty(), (), PageRuns.empty())

    def _by_pid(self) -> dict[int, list[Mapped]]:
        found: dict[int, list[Mapped]] = {}
        for mapped in self.mappings:
            found.setdefault(mapped.pid, []).append(mapped)
        return found

    def _within(self, mapped: Mapped, runs: PageRuns) -> PageRuns:
        return runs.clip(mapped.start, mapped.end).shifted(self._object.base + mapped.offset - mapped.start)

    def unprotect(self, runs: PageRuns) -> None:
        """As `Tracker.unprotect`."""
        for pid, mapped in self._by_pid().items():
            here = PageRuns.empty()
            for one in mapped:
                first = self._object.base + one.offset
                here |= runs.clip(first, first + one.end - one.start).shifted(one.start - first)
            with suppress(TargetError):
                self._tracker_of(pid).unprotect(here)


@dataclass(frozen=True)
class Witness:
    """What tells later whether somebody may have written into shared memory past the mappings that are watched.

    A child that was forked maps the same objects, unwatched; when it has ended, or a mapping was undone, what was written through it
    cannot be asked any more. So the tasks and their mappings must be the same ones, and no task may have forked: its reaped children
    have left their page faults with it (proc_pid_stat(5), cminflt), if it does not have them reaped unseen. On a quiet machine it is
    enough that nobody at all has forked (/proc/stat, processes). A fork with CLONE_PARENT by the root of the tree, whose child has
    ended since, is the one that is not seen.

    Attributes:
        mappings: key → its mappings, ascending, each as [pid, start, end, offset].
        tasks: pid → [start time, page faults of its reaped children].
        forks: all forks since the machine was started.
        ids: key → the number that layers know the object by.
    """

    mappings: dict[str, list[list[int]]]
    tasks: dict[str, list[int]]
    forks: int
    ids: dict[str, int]

    @classmethod
    def of(cls, pids: Iterable[int], mappings: Mapping[Key, Sequence[Mapped]], ids: Mapping[Key, int]) -> "Witness":
        """As it is now, of a tree. A task that has ended is left out."""
        tasks = {}
        for pid in pids:
            with suppress(TargetError, OSError):
                tasks[str(pid)] = [identify(pid).start_time, _faults_of_children(pid)]
        listed = {text(key): sorted([one.pid, one.start, one.end, one.offset] for one in found) for key, found in mappings.items()}
        return cls(listed, tasks, _all_forks(), {text(key): number for key, number in ids.items()})

    def why_not(self, now: "Witness", key: Key, reaps_unseen: Callable[[], bool]) -> str:
        """Why the memory of *key* may have been written past its mappings since; "" if it cannot have been.

        *reaps_unseen* tells whether children of some task leave nothing with it (SIGCHLD ignored, SA_NOCLDWAIT). It is asked only if that
        decides.
        """
        if self.mappings.get(text(key)) != now.mappings.get(text(key)):
            return "it was mapped anew, or no longer, since then"
        if self.forks == now.forks:
            return ""
        if self.tasks != now.tasks:
            return "a task has ended or was forked since then"
        return "a task that ignores the ends of its children may have forked since then" if reaps_unseen() else ""


def text(key: Key) -> str:
    """A key as JSON can have it: "00:01/4711"."""
    return f"{key[0]}/{key[1]}"


def _faults_of_children(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 -- inside the freeze
        words = file.read().rpartition(b")")[2].split()
    return int(words[8]) + int(words[10])


def _all_forks() -> int:
    with open("/proc/stat", "rb") as file:  # noqa: PTH123 -- inside the freeze
        return next(int(line.split()[1]) for line in file if line.startswith(b"processes "))


def mappers_outside(keys: Iterable[Key], tree: Iterable[int]) -> dict[Key, int]:
    """Objects that a process outside *tree* maps, too: one of those who do. Looks at every process there is, if there is any object."""
    wanted, inside = set(keys), {*tree, os.getpid()}
    found: dict[Key, int] = {}
    if not wanted:
        return found
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in inside:
            continue
        try:
            text_of_maps = Path(f"/proc/{name}/maps").read_bytes()
            if not any(shown in text_of_maps for shown in SHOWN):
                continue
            theirs = mappings_of({int(name): read_maps(int(name))})
        except (OSError, TargetError):
            continue
        found.update(dict.fromkeys(wanted & theirs.keys(), int(name)))
    return found


def note_outside(key: Key, pid: int) -> str:
    """What the user should know if *pid*, outside the tree, maps an object of it."""
    return f"shared memory {key[1]} is shared with {describe(pid)}, outside the tree: a restored program shares it no more"
