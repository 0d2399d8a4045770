"""Robust futex list of a thread: set_robust_list(2) ↔ `futex_rla`, `futex_rla_len`. Asked from outside (get_robust_list of a tid)."""

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import thread_core_entry


def save(robust: tuple[int, int], core: thread_core_entry) -> None:
    """(head address, length) into *core*; (0, 0) if none is registered."""
    core.futex_rla, core.futex_rla_len = robust


def rebuild(core: thread_core_entry, calls: CallList) -> None:
    """Step 11, in the thread itself; any time before it runs, since the kernel reads the list only when the thread ends."""
    if core.futex_rla:
        calls.add("set_robust_list", core.futex_rla, core.futex_rla_len, expect=0, about="register the robust futex list")
