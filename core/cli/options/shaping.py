"""Options of the verbs that change a stack."""

from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, dry_run, stack

VERBS: dict[str, Verb] = {
    "dedup": ("dedup", "dedup"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    _dedup(verbs)


def _dedup(verbs: Verbs) -> None:
    parser = add(verbs, "dedup", "take out of the ancestors the pages a layer holds itself")
    parser.add_argument("layer", nargs="?", metavar="LAYER", help="the layer; with --lossless also the directory of a stack")
    parser.add_argument("-D", "--images-dir", type=Path, metavar="DIR", help="the layer's directory, as criu dedup takes it")
    stack(parser)
    parser.add_argument("--lossless", action="store_true", help="only make pages inherited or shared: every layer stays restorable")
    dry_run(parser)
