"""Options of the verbs that check layers and mend their links."""

from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, dry_run, layer, stack

VERBS: dict[str, Verb] = {
    "verify": ("trusting", "verify"),
    "relink": ("trusting", "relink"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "verify", "say of a layer, or of each layer of a stack, whether it can be restored, and why not")
    layer(parser, metavar="LAYER|DIR")
    stack(parser)
    parser.add_argument("--fast", action="store_true", help="leave the contents of the pages out: what every restore does first")
    parser = add(verbs, "relink", "find the parent of a layer that was moved or renamed, and mend its link")
    layer(parser)
    stack(parser)
    parser.add_argument("--to", type=Path, metavar="PARENT", help="the directory of the parent")
    parser.add_argument("--search", type=Path, metavar="DIR", action="append", default=[], help="look among the layers in DIR, too")
    dry_run(parser)
