"""Options of the verbs that look into layers."""

from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add

VERBS: dict[str, Verb] = {
    "stack": ("stacks", "stack"),
    "show": ("stacks", "show"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "stack", "the layers under a directory")
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser = add(verbs, "show", "every field of every image file of a layer")
    parser.add_argument("path", type=Path, metavar="FILE|DIR")
