"""Whether a task adopts orphans below it: PR_SET_CHILD_SUBREAPER ↔ `child_subreaper`."""

from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import task_core_entry
from lamina.core.objects.prctl import IntQuestion, ask_int

PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37


def ask(calls: CallList) -> IntQuestion:
    """Append the call (any thread of the task will do). The answer: 0 or 1."""
    return ask_int(calls, PR_GET_CHILD_SUBREAPER, "read the child-subreaper flag")


def save(child_subreaper: int, tc: task_core_entry) -> None:
    """Into *tc*."""
    tc.child_subreaper = bool(child_subreaper)


def rebuild(tc: task_core_entry, calls: CallList) -> None:
    """Step 9, in the leader; any time after its children were made, so that a child that dies half-built goes to our own reaper."""
    if tc.child_subreaper:
        calls.add("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, expect=0, about="make it adopt orphans")
