"""Memory protection keys (pkeys(7)): which are allocated. A process that has any is refused: its mappings' keys are in no image.

The one that the kernel takes for memory that may only be executed is none of these: it comes with the protection, at restore as well.

Asked without a trace: pkey_mprotect(2) looks at the key before it looks for the memory, and there is none above all user addresses.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.errors import Blocker
from lamina.core.objects.task_kind import Answer, Asking, CapturedTask, TaskKind

_KEYS: Final = range(1, 16)
_NOWHERE: Final = 0x7FFF_FFFF_F000
"""The first address that no 64-bit program has without asking for five-level page tables."""
_ENOMEM: Final = -12


@cache
def _has_keys() -> bool:
    return " ospke " in Path("/proc/cpuinfo").read_text().replace("\n", " ")


class ProtectionKeys(TaskKind[list[int]]):
    """What pkey_mprotect(2) answered for each key that there may be; nothing on a processor without keys."""

    name = "protection keys"

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """Any thread will do."""
        keys = _KEYS if _has_keys() else ()
        asked = [calls.add("pkey_mprotect", _NOWHERE, 4096, 0, key, any_result=True) for key in keys]
        return lambda: [call.result for call in asked]

    def late_blockers(self, value: list[int], seen: CapturedTask) -> Iterable[Blocker]:
        """Keys that it has allocated."""
        if _ENOMEM in value:
            yield Blocker("memory", "it uses protection keys (pkey_alloc): not supported yet")
