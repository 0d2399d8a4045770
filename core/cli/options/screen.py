"""Options of the screen, and the verbs that it answers itself."""

import argparse
from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add

VERBS: dict[str, Verb] = {}


def own_options(parser: argparse.ArgumentParser) -> None:
    """The options of `lamina` without a verb. Those that can also be configured default to what is configured."""
    parser.add_argument("--stack", type=Path, metavar="DIR", help="keep the layers of the TUI under DIR")
    parser.add_argument("--demo", action="store_true", help="open the TUI on a small bundled program")
    parser.add_argument("--readonly", action="store_true", help="let the TUI look, and change nothing")
    parser.add_argument("--theme", metavar="NAME", help="lamina, lamina-light, lamina-contrast, lamina-16 or one of Textual's")
    parser.add_argument("--ascii", action="store_true", help="let the TUI write nothing but ASCII")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "config", "the settings of the TUI and where each is from")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write the file of the user, every setting with what it takes, as it is now")
    what.add_argument("--keys", action="store_true", help="every action with its name and its keys")
