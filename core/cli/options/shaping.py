"""Options of the verbs that change a stack."""

from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, byte_count, count, dry_run, layer, seconds, stack

VERBS: dict[str, Verb] = {
    "dedup": ("dedup", "dedup"),
    "squash": ("shaping", "squash"),
    "drop": ("shaping", "drop"),
    "undo": ("shaping", "undo"),
    "trash": ("shaping", "trash"),
    "prune": ("shaping", "prune"),
    "pin": ("shaping", "pin"),
    "unpin": ("shaping", "unpin"),
    "label": ("shaping", "label"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    _dedup(verbs)
    _dropping(verbs)
    _prune(verbs)
    _marks(verbs)


def _dedup(verbs: Verbs) -> None:
    parser = add(verbs, "dedup", "take out of the ancestors the pages a layer holds itself")
    parser.add_argument("layer", nargs="?", metavar="LAYER", help="the layer; with --lossless also the directory of a stack")
    parser.add_argument("-D", "--images-dir", type=Path, metavar="DIR", help="the layer's directory, as criu dedup takes it")
    stack(parser)
    parser.add_argument("--lossless", action="store_true", help="only make pages inherited or shared: every layer stays restorable")
    dry_run(parser)


def _dropping(verbs: Verbs) -> None:
    parser = add(verbs, "squash", "leave only the last layer of a stretch, with all that it resolved there")
    parser.add_argument("layers", metavar="A..B", help="the first and the last layer: S/1..S/4 or S/1..4, or with --stack 1..4")
    stack(parser)
    dry_run(parser)
    parser = add(verbs, "drop", "move layers to the trash; those that stand on them first take what they need")
    parser.add_argument("layers", nargs="+", metavar="LAYER", help="a layer of a stack: its directory, or with --stack its name or label")
    stack(parser)
    dry_run(parser)
    parser = add(verbs, "undo", "bring a dropped layer back, the newest if none is named")
    parser.add_argument("layer", nargs="?", metavar="LAYER", help="where it was, or its stack; with --stack its name")
    parser.add_argument("--as", dest="as_name", metavar="NAME", help="give it another name")
    stack(parser)
    dry_run(parser)
    parser = add(verbs, "trash", "the dropped layers of a stack, and removing them for good")
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser.add_argument("--empty", nargs="?", const="", metavar="NAME", help="remove the layer NAME of the trash, or all of them, for good")
    dry_run(parser)


def _prune(verbs: Verbs) -> None:
    parser = add(verbs, "prune", "drop the layers of a stack that no rule keeps; pinned layers and the newest always stay")
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser.add_argument("--keep-last", type=count, metavar="N", help="keep the newest N restorable layers")
    parser.add_argument("--keep-every", type=seconds, metavar="T", help="keep the newest layer of every T: 30s, 10m, 1h, 1d, 1w")
    parser.add_argument("--max-bytes", type=byte_count, metavar="B", help="let layers and trash take at most B on disk: 500M, 2G")
    dry_run(parser)


def _marks(verbs: Verbs) -> None:
    parser = add(verbs, "pin", "keep a layer: refuse to drop, prune or squash it away")
    layer(parser)
    parser.add_argument("reason", nargs="?", default="", metavar="REASON")
    stack(parser)
    parser = add(verbs, "unpin", "take the pin of a layer away")
    layer(parser)
    stack(parser)
    parser = add(verbs, "label", "give a layer a name for people; an empty TEXT takes it away")
    layer(parser)
    parser.add_argument("text", metavar="TEXT")
    stack(parser)
