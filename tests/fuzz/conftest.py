"""The table of what was run; tests/live prints it."""

from tests.live.conftest import tally

__all__ = ["tally"]
