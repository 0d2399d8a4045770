"""Tables that processes share without being threads of one: descriptors (CLONE_FILES), and the place in the file system (CLONE_FS).

A table cannot be joined. A process has one in common with whoever cloned it, so a restore lets a relative clone it that has the table: its
parent, or an older sibling (CLONE_PARENT). execve(2) gives a process descriptors of its own, and lets it keep a shared place; so whoever
shares descriptors runs the program of the one it shares them with, and is forked from that without an exec.

Signal actions are shared only together with memory (clone(2): CLONE_SIGHAND needs CLONE_VM, and an exec ends both), which is not supported.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

CLONE_PARENT: Final = 0x8000
_FLAGS: Final[Mapping[str, int]] = MappingProxyType({"files": 0x400, "fs": 0x200})
WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "files": "its descriptor table (CLONE_FILES)",
        "fs": "its working directory and umask (CLONE_FS)",
        "vm": "its memory (CLONE_VM or vfork)",
        "sighand": "its signal actions (CLONE_SIGHAND)",
    }
)
"""Name in `task_kobj_ids_entry` without "_id" → what it is, for messages."""


class Relative(NamedTuple):
    """A process as far as it matters here; *parent* is 0 for the root."""

    pid: int
    parent: int
    session: int


@dataclass(frozen=True)
class Origin:
    """How a process comes to what it shares.

    Attributes:
        cloner: who clones it, 0: its parent.
        shares: what it has in common with that one, "files" or "fs" or both.
    """

    cloner: int = 0
    shares: frozenset[str] = frozenset()

    @property
    def flags(self) -> int:
        """For clone3(2)."""
        return sum(_FLAGS[name] for name in self.shares) | (CLONE_PARENT if self.cloner else 0)

    @property
    def execs(self) -> bool:
        """Whether it gets its program by execve(2)."""
        return "files" not in self.shares


def groups_of(ids: Mapping[int, int]) -> dict[int, int]:
    """pid → the first pid with the same number."""
    first: dict[int, int] = {}
    return {pid: first.setdefault(number, pid) for pid, number in ids.items()}


def plan_origins(relatives: Iterable[Relative], groups: Mapping[str, Mapping[int, int]]) -> tuple[dict[int, Origin], dict[int, str]]:
    """For each living process, parents first: its origin; or why there is none, as in "shares its descriptor table … with process 7, …".

    groups: "files" and "fs" → pid → the first pid that has the same table; those that have one of their own may lack.
    """
    made: list[Relative] = []
    origins: dict[int, Origin] = {}
    refused: dict[int, str] = {}
    for one in relatives:
        needed = [name for name in _FLAGS if groups[name].get(one.pid, one.pid) != one.pid]
        if not needed:
            origins[one.pid] = Origin()
        elif (cloner := _cloner(one, made, [groups[name] for name in needed])) is not None:
            origins[one.pid] = Origin(cloner, frozenset(needed))
        else:
            what = " and ".join(WORDS[name] for name in needed)
            why = "neither its parent nor an older sibling in its session that has the same: not supported yet"
            refused[one.pid] = f"shares {what} with process {groups[needed[0]][one.pid]}, and there is {why}"
        made.append(one)
    return origins, refused


def _cloner(one: Relative, made: Sequence[Relative], groups: Sequence[Mapping[int, int]]) -> int | None:
    def has_all(pid: int) -> bool:
        return all(group.get(pid, pid) == group[one.pid] for group in groups)

    if one.parent and has_all(one.parent):
        return 0
    siblings = (it.pid for it in made if one.parent and it.parent == one.parent and it.session == one.session)
    return next(filter(has_all, siblings), None)
