"""The options of the screen, and what they mean for the session."""

import argparse
from pathlib import Path

from lamina.tui.session import Session


def parse(argv: list[str]) -> tuple[Session, bool]:
    """The session these options ask for, and whether it is the demo. Exits with 2 on wrong usage, as argparse does."""
    parser = argparse.ArgumentParser("lamina", description="interactive checkpointing of running programs")
    parser.add_argument("--stack", metavar="DIR", type=Path, help="where layers go and whose layers are shown")
    parser.add_argument("--demo", action="store_true", help="show a small bundled program being dumped and put back")
    parser.add_argument("--readonly", action="store_true", help="look, and change nothing")
    options = parser.parse_args(argv)
    return Session(options.stack.absolute() if options.stack else None, options.readonly), options.demo
