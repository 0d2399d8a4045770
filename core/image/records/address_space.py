"""The memory descriptor of a task (`mm_entry`) but for its areas: what prctl(2) PR_SET_MM_MAP takes."""

from collections.abc import Iterator
from typing import Final

from lamina.core.image.records.limits import PAGE, USER_END
from lamina.core.image.schema import mm_entry

_ADDRESSES: Final = (
    "mm_start_code", "mm_end_code", "mm_start_data", "mm_end_data", "mm_start_stack", "mm_start_brk", "mm_brk", "mm_arg_start",
    "mm_arg_end", "mm_env_start", "mm_env_end",
)  # fmt: skip
# kernel/sys.c, validate_prctl_map_addr: the code may not be empty, all else may.
_ORDER: Final = (
    ("mm_start_code", "mm_end_code", 1), ("mm_start_data", "mm_end_data", 0), ("mm_start_brk", "mm_brk", 0),
    ("mm_arg_start", "mm_arg_end", 0), ("mm_env_start", "mm_env_end", 0),
)  # fmt: skip
MAX_AUXV: Final = 64
"""Pairs; the kernel keeps about 25 (AT_VECTOR_SIZE)."""
_DUMPABLE: Final = (0, 1, 2)


def damage(entry: mm_entry) -> Iterator[str]:
    """What is wrong with it."""
    for name in _ADDRESSES:
        if not PAGE <= (value := getattr(entry, name)) < USER_END:
            yield f"its {name} is {value:#x}, which is no address of a program"
    for low, high, least in _ORDER:
        if getattr(entry, low) + least > getattr(entry, high):
            yield f"its {low} is above its {high}"
    words = len(entry.mm_saved_auxv)
    if words % 2 or words > 2 * MAX_AUXV:
        yield f"its auxiliary vector has {words} words"
    if entry.HasField("dumpable") and entry.dumpable not in _DUMPABLE:
        yield f"its dumpable flag is {entry.dumpable}"
    if not entry.vmas:
        yield "it has no areas"
