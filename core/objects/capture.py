"""The descriptors of a tree as open file descriptions: captured in the freeze, saved after it.

Inside the freeze: one C call per task for its whole table, kcmp for what is shared, and what only a copy of a descriptor tells. All
recognising of trouble, reading of pipe copies and encoding happens after the thaw.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lamina.core.attach.procfs import describe
from lamina.core.errors import Blocker, RefusedError, TargetError
from lamina.core.image.schema import fdinfo_entry
from lamina.core.objects.file_table import FileTable, Images
from lamina.core.objects.kind import IN_FLIGHT, CapturedFile, KindTable, Surroundings
from lamina.core.objects.rawfd import KCMP_FILE, KCMP_FILES, KCMP_FS, RawFd, alike, read_table, sharing

UFFD_LINK: Final = "anon_inode:[userfaultfd]"


def group(raws: Sequence[RawFd]) -> list[list[RawFd]]:
    """Descriptors that are one open file description, together; in the order of first sight.

    Only those with equal link and inode are compared.

    Raises:
        NativeError: the kernel cannot compare.
    """
    peers: dict[tuple[str, int, int], list[int]] = {}
    for at, raw in enumerate(raws):
        peers.setdefault((raw.link, raw.dev, raw.ino), []).append(at)
    found: dict[int, list[RawFd]] = {}
    for places in peers.values():
        firsts = alike([(raws[at].pid, raws[at].fd) for at in places], KCMP_FILE) if len(places) > 1 else [0]
        for at, first in zip(places, firsts, strict=True):
            found.setdefault(places[first], []).append(raws[at])
    return [found[at] for at in sorted(found)]


@dataclass(frozen=True)
class Slot:
    """One number of a task's table: which description it names, by its index in `Captured.files`."""

    raw: RawFd
    file: int

    @property
    def fd(self) -> int:
        """The number."""
        return self.raw.fd

    @property
    def cloexec(self) -> bool:
        """FD_CLOEXEC."""
        return self.raw.cloexec


@dataclass
class Captured:
    """The descriptors of a frozen tree.

    Attributes:
        files: every open file description once; None where no kind knows it (`blockers` names it).
        tables: pid → its slots, ascending by number; of tasks that share one table (CLONE_FILES) only the first.
        shared: "files" and "fs" → pid → whose table or place in the file system it has, of tasks that have none of their own.
        pids: all of the tree.
        blockers: found while capturing; more come with `refuse`.
    """

    files: list[CapturedFile]
    tables: dict[int, list[Slot]]
    blockers: list[Blocker]
    shared: dict[str, dict[int, int]] = field(default_factory=dict)
    pids: Sequence[int] = ()

    def refuse(self, what: str, obj: str) -> None:
        """After the thaw: raise if something cannot be saved.

        Raises:
            RefusedError: with every blocker.
        """
        found = list(self.blockers)
        for file in self.files:
            found += [blocker for raw in file.holders if (blocker := held_lock(raw))]
            if blocker := _foreign_owner(file.raw, self.pids):
                found.append(blocker)
            if blocker := file.kind.late_blocker(file):
                found.append(blocker)
        for kind in dict.fromkeys(file.kind for file in self.files):
            found += kind.late_blockers([file for file in self.files if file.kind is kind])
        if found:
            raise RefusedError(what, obj, blockers=tuple(found))

    def notes(self) -> list[str]:
        """After the thaw: what will be different after a restore, as sentences."""
        return [note for file in self.files for note in file.kind.late_notes(file, self.pids)]

    def close(self) -> None:
        """Let go of copies of pipes. Idempotent."""
        for file in self.files:
            file.kind.release(file.extra)

    def __enter__(self) -> "Captured":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def held_lock(raw: RawFd) -> Blocker | None:
    """A lock or lease that goes with this descriptor (fdinfo "lock:" lines): it would be lost."""
    text = raw.line("lock", "")
    if not text:
        return None
    # "1: FLOCK  ADVISORY  WRITE 4711 00:1b:123 0 EOF" (proc(5), /proc/locks)
    words = text.split()
    how = {"FLOCK": "flock", "POSIX": "fcntl", "OFDLCK": "fcntl", "LEASE": "lease"}.get(words[1] if len(words) > 1 else "", "file")
    return raw.blocker(f"holds a {how} lock, which would be lost".replace("lease lock", "lease"), "dump when it has been released")


def _foreign_owner(raw: RawFd, pids: Collection[int]) -> Blocker | None:
    """SIGIO that goes to a process outside the tree: after a restore its pid may be anybody's."""
    owner = raw.owner.pid
    if not owner or owner in pids or any(os.path.lexists(f"/proc/{pid}/task/{owner}") for pid in pids):
        return None
    return raw.blocker(f"its signals (F_SETOWN) go to process or group {owner}, outside the tree")


@contextmanager
def _pidfds(pids: Iterable[int]) -> Iterator[dict[int, int]]:
    opened: dict[int, int] = {}
    try:
        for pid in pids:
            opened[pid] = os.pidfd_open(pid)
        yield opened
    except OSError as error:
        raise TargetError("cannot reach", "the tree", os.strerror(error.errno or 0)) from error
    finally:
        for pidfd in opened.values():
            os.close(pidfd)


def capture(pids: Sequence[int], kinds: KindTable, own_uffds: Collection[int] = ()) -> Captured:
    """Inside the freeze: the descriptors of the tree's living tasks, parents first.

    own_uffds: inodes of the userfaultfds lamina left in them; those are not descriptors of the program.

    The result holds descriptors: use it as a context manager, or `close` it. `refuse` says, after the thaw, what cannot be saved.

    Raises:
        TargetError, NativeError: a table could not be read or compared.
    """
    shared = {"files": dict(sharing(pids, KCMP_FILES)), "fs": dict(sharing(pids, KCMP_FS))}
    own = [pid for pid in pids if pid not in shared["files"]]
    captured = Captured([], {pid: [] for pid in own}, [], shared, pids)
    try:
        with _pidfds([*pids, os.getpid()]) as pidfds:
            _capture(captured, pidfds, kinds, own_uffds)
    except BaseException:
        captured.close()
        raise
    return captured


def _capture(captured: Captured, pidfds: Mapping[int, int], kinds: KindTable, own_uffds: Collection[int]) -> None:
    raws = [raw for pid in captured.tables for raw in read_table(pid, pidfds[pid])]
    once: dict[tuple[str, object], Any] = {}
    surroundings = Surroundings()

    def take(holders: list[RawFd]) -> CapturedFile | None:
        first = holders[0]
        if first.link == UFFD_LINK and first.ino in own_uffds:
            return None
        kind = kinds.of(first)
        if kind is None:
            captured.blockers.append(kinds.unknown(first))
            return None
        if first.carrier and kind.made_in_task:
            captured.blockers.append(_made_in_flight(first))
            return None
        key = kind.capture_key(first)
        if key is not None and (kind.name, key) in once:
            extra = once[kind.name, key]
        else:
            extra = kind.capture(holders, pidfds[first.pid], surroundings.of(kind))
            once[kind.name, key] = extra
        captured.files.append(CapturedFile(holders, kind, extra))
        return captured.files[-1]

    for holders in group(raws):
        if take(holders):
            for raw in holders:
                captured.tables[raw.pid].append(Slot(raw, len(captured.files) - 1))
    for slots in captured.tables.values():
        slots.sort(key=lambda slot: slot.fd)
    _together(captured.files)
    _capture_held(captured, pidfds[os.getpid()], take)


def _together(files: Sequence[CapturedFile]) -> None:
    for kind in dict.fromkeys(file.kind for file in files):
        kind.capture_together([file.extra for file in files if file.kind is kind])


def _capture_held(captured: Captured, own: int, take: Callable[[list[RawFd]], CapturedFile | None]) -> None:
    """What descriptions of the tree hold, and what that holds, and so on. *own*: a pidfd of ours."""
    new = list(captured.files)
    known: dict[tuple[str, int, int], list[CapturedFile]] = {}
    for file in new:
        known.setdefault(_inode(file.raw), []).append(file)
    opened: list[int] = []
    try:
        while new:
            carried = [(file, fd) for file in new for fd in file.kind.held(file.extra)]
            opened += [fd for _, fd in carried]
            new = []
            table = {raw.fd: raw for raw in read_table(os.getpid(), own)} if carried else {}
            for carrier, fd in carried:
                raw = replace(table[fd], carrier=carrier.raw)
                found = _same(raw, known.get(_inode(raw), ()))
                if found and found.kind.made_in_task:
                    captured.blockers.append(_made_in_flight(raw))
                if found is None and (found := take([raw])):
                    new.append(found)
                    known.setdefault(_inode(raw), []).append(found)
                if found:
                    carrier.held.append(found)
            _together(new)
    finally:
        for fd in opened:
            os.close(fd)


def _made_in_flight(raw: RawFd) -> Blocker:
    return raw.blocker(f"{IN_FLIGHT}: not supported yet", "try again when it has been received")


def _inode(raw: RawFd) -> tuple[str, int, int]:
    return raw.link, raw.dev, raw.ino


def _same(raw: RawFd, files: Sequence[CapturedFile]) -> CapturedFile | None:
    """Which of *files* is the description of *raw*, or None."""
    firsts = alike([*((file.raw.pid, file.raw.fd) for file in files), (raw.pid, raw.fd)], KCMP_FILE)
    return files[firsts[-1]] if firsts[-1] < len(files) else None


def save(captured: Captured, table: FileTable, files_ids: Mapping[int, int]) -> Images:
    """After the thaw: fdinfo-ID for every task; the descriptions go into *table*, whose `images()` are put last, when all paths are known.

    files_ids: pid → `task_kobj_ids_entry.files_id`.

    Raises:
        RefusedError: something cannot be saved.
    """
    captured.refuse("cannot dump", describe(next(iter(captured.tables), 0)))
    ids = [table.description(file) for file in captured.files]
    images: Images = {}
    for pid, slots in captured.tables.items():
        images[f"fdinfo-{files_ids[pid]}"] = (
            "fdinfo",
            [
                fdinfo_entry(id=ids[slot.file], flags=int(slot.cloexec), type=captured.files[slot.file].kind.type, fd=slot.fd)
                for slot in slots
            ],
        )
    return images
