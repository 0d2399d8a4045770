"""The first screen must be there at once: what it does not need is not imported for it."""

import subprocess
import sys


def test_the_app_starts_without_the_engine() -> None:
    code = (
        "import sys, lamina.tui.app.lamina\n"
        "heavy = ('numpy', 'google.protobuf', 'cffi', 'ptrace', 'lamina.core._native', 'lamina.core.ffi')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
