"""The signal a thread gets when its parent ends: PR_SET_PDEATHSIG ↔ `pdeath_sig`."""

from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.objects.prctl import IntQuestion, ask_int

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2


def ask(calls: CallList) -> IntQuestion:
    """Append the call, to be run in the thread itself. The answer: signal number, 0 if none."""
    return ask_int(calls, PR_GET_PDEATHSIG, "read the parent-death signal")


def save(signal: int, core: thread_core_entry) -> None:
    """Into *core*, if there is one."""
    if signal:
        core.pdeath_sig = signal


def rebuild(core: thread_core_entry, calls: CallList) -> None:
    """Step 11, in the thread itself, after `creds.rebuild`: a change of credentials clears it."""
    if core.pdeath_sig:
        calls.add("prctl", PR_SET_PDEATHSIG, core.pdeath_sig, 0, 0, 0, expect=0, about="set the parent-death signal")
