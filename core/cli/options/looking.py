"""Options of the verbs that look into layers."""

from pathlib import Path

from lamina.core.cli.options import comparing, memory
from lamina.core.cli.options.common import Verb, Verbs, add

VERBS: dict[str, Verb] = {
    "stack": ("stack_list", "stack"),
    "show": ("stacks", "show"),
    **memory.VERBS,
    **comparing.VERBS,
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "stack", "the layers under a directory")
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser = add(verbs, "show", "the image files of a layer: a line each, or every field of one")
    parser.add_argument("path", type=Path, metavar="FILE|DIR|ARCHIVE")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--all", action="store_true", help="every field of every file, contents and maps in full (as --json has them)")
    amount.add_argument("--limit", type=int, metavar="N", help="at most N records, runs or rows of a content of each file")
    memory.declare(verbs)
    comparing.declare(verbs)
