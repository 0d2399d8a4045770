"""Settings of a thread that no field of the format holds: asked inside the freeze, refused by name where they are not the default.

prctl(2) and arch_prctl(2) getters, and modify_ldt(2). One that this kernel does not have answers an error, and then nobody can have set it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList, DataRef
from lamina.core.errors import Blocker
from lamina.core.objects.task_kind import Answer, Asking, CapturedThread, ThreadKind

PR_GET_TSC, PR_GET_IO_FLUSHER, PR_GET_MDWE, PR_GET_MEMORY_MERGE = 25, 58, 66, 68
PR_SCHED_CORE, PR_TIMER_CREATE_RESTORE_IDS, PR_RSEQ_SLICE_EXTENSION = 62, 77, 79
_PR_SCHED_CORE_GET, _PR_TIMER_CREATE_RESTORE_IDS_GET, _PR_RSEQ_SLICE_EXTENSION_GET = 0, 2, 1
_READ_LDT: Final = 0
ARCH_GET_CPUID, ARCH_GET_XCOMP_PERM, ARCH_GET_UNTAG_MASK = 0x1011, 0x1022, 0x4001
_TILE_DATA: Final = 1 << 18
_ALL_ADDRESS_BITS: Final = 2**64 - 1


@dataclass(frozen=True)
class _Setting:
    """A getter: call and option, whether it answers through a pointer, when the answer is not the default; arguments before the pointer."""

    name: str
    option: int
    by_pointer: bool
    differs: Callable[[int], bool]
    why: str
    before: tuple[int, ...] = ()


_SETTINGS: Final = (
    _Setting("prctl", PR_GET_TSC, True, lambda value: value & 0xFFFF_FFFF != 1, "the time stamp counter is forbidden (PR_SET_TSC)"),
    _Setting("prctl", PR_GET_IO_FLUSHER, False, bool, "it is an I/O flusher (PR_SET_IO_FLUSHER)"),
    _Setting("prctl", PR_GET_MDWE, False, bool, "writable code is forbidden (PR_SET_MDWE)"),
    _Setting("prctl", PR_GET_MEMORY_MERGE, False, bool, "all its memory may be merged (PR_SET_MEMORY_MERGE)"),
    _Setting("prctl", PR_SCHED_CORE, True, bool, "it shares no processor core with strangers (PR_SCHED_CORE)", (_PR_SCHED_CORE_GET, 0, 0)),
    _Setting(
        "prctl",
        PR_TIMER_CREATE_RESTORE_IDS,
        False,
        bool,
        "it chooses the ids of its timers (PR_TIMER_CREATE_RESTORE_IDS)",
        (_PR_TIMER_CREATE_RESTORE_IDS_GET,),
    ),
    _Setting(
        "prctl",
        PR_RSEQ_SLICE_EXTENSION,
        False,
        bool,
        "its time slices may be extended (PR_RSEQ_SLICE_EXTENSION)",
        (_PR_RSEQ_SLICE_EXTENSION_GET,),
    ),
    _Setting("modify_ldt", _READ_LDT, False, bool, "it has segments of its own (modify_ldt)"),
    _Setting("arch_prctl", ARCH_GET_CPUID, False, lambda value: value != 1, "the cpuid instruction faults (ARCH_SET_CPUID)"),
    _Setting("arch_prctl", ARCH_GET_XCOMP_PERM, True, lambda value: bool(value & _TILE_DATA), "it may use AMX (ARCH_REQ_XCOMP_PERM)"),
    _Setting("arch_prctl", ARCH_GET_UNTAG_MASK, True, lambda value: value != _ALL_ADDRESS_BITS, "it uses tagged addresses (LAM)"),
)


class RefusedSettings(ThreadKind[list[str]]):
    """What is not at its default, as sentences."""

    name = "settings that images cannot hold"

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """All getters."""
        asked: list[tuple[Call, DataRef]] = []
        for setting in _SETTINGS:
            room = calls.room(8)
            rest: tuple[int | DataRef, ...] = (*setting.before, room if setting.by_pointer else 0)
            if setting.name == "modify_ldt":
                rest = (room, 8)  # it answers how many bytes it has read
            elif setting.name == "prctl":
                rest = (*rest, 0, 0, 0)[:4]
            asked.append((calls.add(setting.name, setting.option, *rest, any_result=True), room))

        def answer() -> list[str]:
            found = []
            for setting, (call, room) in zip(_SETTINGS, asked, strict=True):
                if call.result >= 0:
                    value = int.from_bytes(calls.output(room, 8), "little") if setting.by_pointer else call.result
                    if setting.differs(value):
                        found.append(setting.why)
            return found

        return answer

    def late_blockers(self, value: list[str], seen: CapturedThread) -> Iterable[Blocker]:
        """Each by name."""
        return [Blocker("a setting", f"{why}, which images cannot hold") for why in value]
