"""Whether the criu on PATH works with this kernel decides what the other files here can test, so it must not go unseen."""

import os
import subprocess
from pathlib import Path

from tests.kernels.criu import PATH, why_not


def test_inside_a_guest_criu_works() -> None:
    """`make kernels` runs the kernel it says, with a criu that works on it."""
    if kernel := os.environ.get("LAMINA_KERNEL"):
        assert os.uname().release == kernel
        assert why_not() == ""


def test_a_criu_that_is_not_used_does_not_start(tmp_path: Path) -> None:
    """Debian's 3.17.1 does not know the vdso of newer kernels, for one: it then fails before it looks at any process or image."""
    reason = why_not()
    if not reason or "not installed" in reason:
        return
    words = ["criu", "dump", "-t", str(os.getppid()), "-D", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"PATH": PATH})
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.img")), "it dumps although `criu check` fails: look at what it says"
