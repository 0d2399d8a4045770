"""Settings of a thread that no field of the format holds: asked inside the freeze, refused by name where they are not the default.

prctl(2) and arch_prctl(2) getters. One that this kernel does not have answers an error, and then nobody can have set it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList, DataRef
from lamina.core.errors import Blocker

PR_GET_TSC, PR_GET_IO_FLUSHER, PR_GET_MDWE, PR_GET_MEMORY_MERGE = 25, 58, 66, 68
ARCH_GET_CPUID, ARCH_GET_XCOMP_PERM, ARCH_GET_UNTAG_MASK = 0x1011, 0x1022, 0x4001
_TILE_DATA: Final = 1 << 18
_ALL_ADDRESS_BITS: Final = 2**64 - 1


@dataclass(frozen=True)
class _Setting:
    """A getter: call and option, whether it answers through a pointer, when the answer is not the default."""

    name: str
    option: int
    by_pointer: bool
    differs: Callable[[int], bool]
    why: str


_SETTINGS: Final = (
    _Setting("prctl", PR_GET_TSC, True, lambda value: value & 0xFFFF_FFFF != 1, "the time stamp counter is forbidden (PR_SET_TSC)"),
    _Setting("prctl", PR_GET_IO_FLUSHER, False, bool, "it is an I/O flusher (PR_SET_IO_FLUSHER)"),
    _Setting("prctl", PR_GET_MDWE, False, bool, "writable code is forbidden (PR_SET_MDWE)"),
    _Setting("prctl", PR_GET_MEMORY_MERGE, False, bool, "all its memory may be merged (PR_SET_MEMORY_MERGE)"),
    _Setting("arch_prctl", ARCH_GET_CPUID, False, lambda value: value != 1, "the cpuid instruction faults (ARCH_SET_CPUID)"),
    _Setting("arch_prctl", ARCH_GET_XCOMP_PERM, True, lambda value: bool(value & _TILE_DATA), "it may use AMX (ARCH_REQ_XCOMP_PERM)"),
    _Setting("arch_prctl", ARCH_GET_UNTAG_MASK, True, lambda value: value != _ALL_ADDRESS_BITS, "it uses tagged addresses (LAM)"),
)


@dataclass(frozen=True)
class Question:
    """Calls that ask; `blockers` after the run."""

    calls: CallList
    asked: tuple[tuple[Call, DataRef], ...]

    def blockers(self) -> list[Blocker]:
        """What is not at its default."""
        found = []
        for setting, (call, room) in zip(_SETTINGS, self.asked, strict=True):
            if call.result < 0:
                continue
            value = int.from_bytes(self.calls.output(room, 8), "little") if setting.by_pointer else call.result
            if setting.differs(value):
                found.append(Blocker("a setting", f"{setting.why}, which images cannot hold"))
        return found


def ask(calls: CallList) -> Question:
    """Append the calls, to be run in the thread itself."""
    asked = []
    for setting in _SETTINGS:
        room = calls.room(8)
        rest = (room if setting.by_pointer else 0, 0, 0, 0) if setting.name == "prctl" else (room if setting.by_pointer else 0,)
        asked.append((calls.add(setting.name, setting.option, *rest, any_result=True), room))
    return Question(calls, tuple(asked))
