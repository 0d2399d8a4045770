"""What this lamina may do."""

import os
from typing import Final

from lamina.core.attach.procfs import read_status

CAP_SYS_RESOURCE: Final = 24


def effective_capabilities() -> int:
    """CapEff of this thread as a mask (capabilities(7))."""
    return int(read_status(os.getpid())["CapEff"], 16)


def may_raise_limits() -> bool:
    """Whether we may raise hard limits (CAP_SYS_RESOURCE)."""
    return bool(effective_capabilities() >> CAP_SYS_RESOURCE & 1)
