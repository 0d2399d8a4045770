"""The supplement of a layer: kernel state that CRIU's images have no field for, kept in the sidecar and set again at restore.

It says only what is not the default; what is missing means the default. It comes from whoever wrote the layer, so every value is checked
here, by `Supplement.from_record` for itself and by `problems` against the images beside it: `verify` and restore call the same two.
What each value means, and how it is asked and set, stands in core/kinds; docs/inventory.md lists all kernel state and where it is kept.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

Value = int | str
Values = Mapping[str, Value]
"""Name of a setting → its value."""

_LIST: Final = r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*"
_MODES: Final = "local|(prefer|bind|interleave|prefer-many|weighted-interleave)(=static|=relative)?"
_POLICY: Final = re.compile(rf"({_MODES})(:{_LIST})?(\+balancing)?")
_CPUS: Final = re.compile(_LIST)
# Lines "controllers:/path", without the hierarchy's number, which is another one after a boot.
_GROUPS: Final = re.compile(r"[^\n:]{0,200}:/[^\n]{0,4095}(\n[^\n:]{0,200}:/[^\n]{0,4095})*")
_KEYRING: Final = re.compile(r"[^\0;]{1,255}(;user)?")
# Documentation/core-api/mm: what PR_SET_VMA_ANON_NAME takes.
_AREA_NAME: Final = re.compile(r"[\x20-\x7e]{1,79}")
_SPECULATION: Final = frozenset({2, 4, 8, 16})

Rule = range | frozenset[int] | re.Pattern[str]

THREAD_FIELDS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "cgroups": _GROUPS,
        "cpus": _CPUS,
        "ioprio": range(1 << 16),
        "mce_kill": frozenset({0, 1}),
        "mempolicy": _POLICY,
        "slice_ns": range(1, 1 << 63),
        "spec_indirect_branch": _SPECULATION,
        "spec_l1d_flush": _SPECULATION,
        "spec_store_bypass": _SPECULATION,
        "timer_slack_ns": range(1, 1 << 63),
        "util_max": range(1025),
        "util_min": range(1025),
    }
)
"""What is kept of a thread → which values it can have."""

TASK_FIELDS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "autogroup_nice": range(-20, 20),
        "coredump_filter": range(1 << 32),
        "mlock_future": frozenset({2, 6}),
        "session_keyring": _KEYRING,
        "session_keyring_serial": range(1, 1 << 31),
    }
)
"""What is kept of a process."""

AREA_FIELDS: Final[Mapping[str, Rule]] = MappingProxyType({"mempolicy": _POLICY, "mlock_onfault": frozenset({1}), "name": _AREA_NAME})
"""What is kept of a part of its memory."""

OBJECT_FIELDS: Final[Mapping[str, Rule]] = MappingProxyType({"size": range(4096, 1 << 56)})
"""What is kept of shared memory: its size in bytes, of which less may be mapped."""

_TABLES: Final = MappingProxyType({"threads": THREAD_FIELDS, "tasks": TASK_FIELDS, "areas": AREA_FIELDS, "objects": OBJECT_FIELDS})
_BY_ID: Final = ("threads", "tasks", "objects")
_LONGEST: Final = 4096
"""Characters of a value of a file; what it may be says its kind (`DescriptorKind.kept`)."""
_IDS: Final = range(1 << 32)
_ADDRESSES: Final = range(1 << 56)
_PAGE: Final = 4096


@dataclass(frozen=True)
class AreaNote:
    """What is kept of the memory from *start* to *end* (bytes, page aligned), all in one mapping."""

    start: int
    end: int
    values: Values


@dataclass(frozen=True)
class Supplement:
    """What a layer holds beyond CRIU's format.

    Attributes:
        threads, tasks: id → `THREAD_FIELDS`, `TASK_FIELDS`.
        areas: pid → notes about its memory, ascending, `AREA_FIELDS`.
        files: id in files.img → what its kind keeps (`DescriptorKind.kept`).
        objects: number of shared memory (its pages are those of "shmem-NUMBER") → `OBJECT_FIELDS`.
        other: tables that a newer lamina wrote; kept as they are.
    """

    threads: Mapping[int, Values] = field(default_factory=dict)
    tasks: Mapping[int, Values] = field(default_factory=dict)
    areas: Mapping[int, tuple[AreaNote, ...]] = field(default_factory=dict)
    files: Mapping[int, Values] = field(default_factory=dict)
    objects: Mapping[int, Values] = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """As JSON has it; empty tables are left out."""
        tables: dict[str, Any] = {
            name: {str(key): dict(values) for key, values in sorted(table.items()) if values}
            for name, table in (("threads", self.threads), ("tasks", self.tasks), ("files", self.files), ("objects", self.objects))
        }
        tables["areas"] = {
            str(pid): [[note.start, note.end, dict(note.values)] for note in notes] for pid, notes in sorted(self.areas.items()) if notes
        }
        return {**self.other, **{name: table for name, table in tables.items() if table}}

    @property
    def unknown(self) -> list[str]:
        """What a newer lamina keeps and this one could not set again."""
        held = {"threads": self.threads.values(), "tasks": self.tasks.values(), "objects": self.objects.values(),
                "areas": [note.values for notes in self.areas.values() for note in notes]}  # fmt: skip
        names = {name for table, values in held.items() for each in values for name in each if name not in _TABLES[table]}
        return sorted(names | set(self.other))

    @classmethod
    def from_record(cls, record: Any) -> "Supplement":
        """From JSON.

        Raises:
            ValueError, TypeError, AttributeError: it is not what it should be.
        """
        known = {name: record.get(name, {}) for name in (*_TABLES, "files")}
        return cls(
            **{name: {_number(key): _values(name, value) for key, value in known[name].items()} for name in _BY_ID},
            files={_number(key): _plain(value) for key, value in known["files"].items()},
            areas={_number(pid): _notes(pid, notes) for pid, notes in known["areas"].items()},
            other={name: table for name, table in record.items() if name not in known},
        )


def _number(text: Any) -> int:
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) not in _IDS:
        raise ValueError(f"its supplement is about {text!r:.60}, which is no id")
    return int(text)


def fits(rule: Rule, value: Value) -> bool:
    """Whether a setting can have that value."""
    if isinstance(rule, re.Pattern):
        return isinstance(value, str) and rule.fullmatch(value) is not None
    return type(value) is int and value in rule


def _plain(values: Any) -> dict[str, Value]:
    for name, value in values.items():
        if not (type(value) is int or (isinstance(value, str) and len(value) <= _LONGEST)):
            raise ValueError(f"its supplement has {name} {value!r:.60}, which it cannot be")
    return dict(values)


def _values(table: str, values: Any) -> dict[str, Value]:
    for name, value in values.items():
        rule = _TABLES[table].get(name)
        if rule is None:
            continue  # a newer lamina's: see `problems`
        if not fits(rule, value):
            raise ValueError(f"its supplement has {name} {value!r:.60}, which it cannot be")
        if name == "cgroups" and any(part == ".." for line in value.splitlines() for part in line.split("/")):
            raise ValueError("its supplement has a control group outside the hierarchy")
    return dict(values)


def _notes(pid: Any, notes: Any) -> tuple[AreaNote, ...]:
    found = []
    last = 0
    for start, end, values in notes:
        right = type(start) is int and type(end) is int and start in _ADDRESSES and end in _ADDRESSES
        if not right or start % _PAGE or end % _PAGE or not last <= start < end:
            raise ValueError(f"its supplement has memory of {pid:.20} that is not in order, or not of whole pages")
        found.append(AreaNote(start, end, _values("areas", values)))
        last = end
    return tuple(found)


def problems(supplement: Supplement, threads: Iterable[int], areas: Mapping[int, list[tuple[int, int]]]) -> Iterator[str]:
    """What the supplement says about things that the layer does not have, as sentences.

    *threads*: all thread ids; *areas*: pid of each living process → its mappings as (start, end), ascending. Of files: see
    `lamina.core.objects.file_records.kept_damage`.
    """
    if supplement.unknown:
        yield f"its supplement keeps {supplement.unknown[0]!r:.60}, which this lamina does not know"
    for what, said, there in (("thread", supplement.threads, threads), ("process", supplement.tasks, areas),
                              ("process", supplement.areas, areas)):  # fmt: skip
        if lost := sorted(set(said) - set(there)):
            yield f"its supplement is about {what} {lost[0]}, which the layer does not have"
    for pid, notes in supplement.areas.items():
        held = areas.get(pid, [])
        for note in notes:
            at = bisect_right(held, (note.start, _ADDRESSES.stop)) - 1
            if at < 0 or note.end > held[at][1]:
                yield f"its supplement is about memory at {note.start:#x} of {pid}, which is not in one mapping"
                break
