"""These tests need a criu that works with the kernel they run on: inside a guest of `make kernels`, or on any machine that has one."""

import os

from tests.kernels.criu import why_not
from tests.live.conftest import layers, reaper

__all__ = ["layers", "reaper"]

# Elsewhere test_which_criu.py alone says (and proves) why not; inside a guest nothing is left out.
GUEST = bool(os.environ.get("LAMINA_KERNEL"))
collect_ignore_glob = [] if GUEST or not why_not() else ["test_with_*.py"]
collect_ignore = [] if GUEST else ["test_in_guest.py"]
