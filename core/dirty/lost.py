"""Whether tracking that a state file tells of still goes on, seen from outside: two small looks at /proc, nothing is stopped or fetched."""

import os
from dataclasses import replace
from pathlib import Path

from lamina.core.attach.procfs import read_stat
from lamina.core.dirty.made import LINK
from lamina.core.dirty.state import TargetState, all_states, is_running
from lamina.core.errors import TargetError


def why_ended(state: TargetState) -> str:
    """In words, why the userfaultfd that *state* tells of is not in the process any more."""
    try:
        if state.program not in (0, read_stat(state.identity.pid).start_stack):
            return "it became another program by exec, which ended tracking"
    except TargetError:
        return "it has ended"
    return "tracking was ended from outside: the program closed the descriptor that keeps it alive, or another lamina took it out"


def why_lost(state: TargetState) -> str:
    """Why the next dump cannot be told what changed although the process was tracked; "" if it can, or if it never was tracked."""
    if not state.uffd_ino:
        return ""
    try:
        place = f"/proc/{state.identity.pid}/fd/{state.uffd_fd}"
        if os.readlink(place) == LINK and Path(place).stat().st_ino == state.uffd_ino:
            return ""
    except PermissionError:
        return ""  # not ours to look at: then it is not ours to dump either
    except OSError:
        pass
    return why_ended(state)


def seen_states() -> list[TargetState]:
    """`all_states` as it is now: without the tracker where tracking was lost."""
    return [replace(state, tracker="") if is_running(state.identity) and why_lost(state) else state for state in all_states()]
