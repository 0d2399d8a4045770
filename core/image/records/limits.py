"""Numbers of the kernel's interface that several records share."""

from typing import Final

PAGE: Final = 4096
USER_END: Final = (1 << 56) - PAGE
"""TASK_SIZE_MAX of 5-level page tables, arch/x86/include/asm/page_64.h: the highest there is."""
SIGNALS: Final = 64
INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1
FD_LIMIT: Final = 1 << 30
"""Above any fs.nr_open in use."""
PATH_MAX: Final = 4096


def is_signal(number: int) -> bool:
    """A signal number, 1 to 64."""
    return 1 <= number <= SIGNALS
