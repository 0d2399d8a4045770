"""A security profile that a thread ran under: only this machine knows which one we run under.

What else no restore puts back, `verify` tells (`lamina.core.verify.unsupported`).
"""

from pathlib import Path

from lamina.core.errors import Blocker
from lamina.core.image.schema import core_entry


def thread_blockers(core: core_entry) -> list[Blocker]:
    """A security profile (AppArmor, SELinux) other than ours: what is restored would run under ours.

    criu records it of every task where such a module is active, and leaves out AppArmor's "unconfined".
    """
    creds = core.thread_core.creds
    labels = {label for label in (creds.lsm_profile, creds.lsm_sockcreate) if label} - {"unconfined", own_label()}
    return [
        Blocker("security", f"it ran under the profile {label}, which cannot be set", "restore it with criu") for label in sorted(labels)
    ]


def own_label() -> str:
    """The security label of this process, as `creds_entry.lsm_profile` has it; "" without such a module."""
    try:
        text = Path("/proc/self/attr/current").read_text(errors="replace")
    except OSError:
        return ""
    # AppArmor adds the mode, as in "profile (enforce)".
    return text.strip("\0\n ").partition(" (")[0]
