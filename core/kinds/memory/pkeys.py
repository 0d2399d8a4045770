"""Memory protection keys (pkeys(7)): which are allocated. A process that has any is refused: its mappings' keys are in no image.

The one that the kernel takes for memory that may only be executed is none of these: it comes with the protection, at restore as well.

Asked without a trace: pkey_mprotect(2) looks at the key before it looks for the memory, and there is none above all user addresses.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.errors import Blocker

_KEYS: Final = range(1, 16)
_NOWHERE: Final = 0x7FFF_FFFF_F000
"""The first address that no 64-bit program has without asking for five-level page tables."""
_ENOMEM: Final = -12


@cache
def _has_keys() -> bool:
    return " ospke " in Path("/proc/cpuinfo").read_text().replace("\n", " ")


@dataclass(frozen=True)
class Question:
    """Calls that ask; `blockers` after the run."""

    asked: tuple[Call, ...]

    def blockers(self) -> list[Blocker]:
        """Keys that it has allocated."""
        if not any(call.result == _ENOMEM for call in self.asked):
            return []
        return [Blocker("memory", "it uses protection keys (pkey_alloc): not supported yet")]


def ask(calls: CallList) -> Question:
    """Append the calls (any thread of the task will do); none on a processor without keys."""
    keys = _KEYS if _has_keys() else ()
    return Question(tuple(calls.add("pkey_mprotect", _NOWHERE, 4096, 0, key, any_result=True) for key in keys))
