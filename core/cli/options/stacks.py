"""Options of the verbs that check the layers of a stack, change them, and put them into archives."""

from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, byte_count, count, dry_run, layer, seconds, stack

VERBS: dict[str, Verb] = {
    "verify": ("verifying", "verify"),
    "relink": ("verifying", "relink"),
    "dedup": ("dedup", "dedup"),
    "squash": ("rewriting", "squash"),
    "drop": ("rewriting", "drop"),
    "undo": ("rewriting", "undo"),
    "trash": ("rewriting", "trash"),
    "prune": ("rewriting", "prune"),
    "pin": ("rewriting", "pin"),
    "unpin": ("rewriting", "unpin"),
    "label": ("rewriting", "label"),
    "export": ("archives", "export"),
    "import": ("archives", "import_"),
    "compress": ("archives", "compress"),
    "expand": ("archives", "expand"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    _verify(verbs)
    _dedup(verbs)
    _dropping(verbs)
    _prune(verbs)
    _marks(verbs)
    _archives(verbs)
    _compressing(verbs)


def _verify(verbs: Verbs) -> None:
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


def _dedup(verbs: Verbs) -> None:
    parser = add(verbs, "dedup", "take out of the ancestors the pages a layer holds itself")
    parser.add_argument("layer", nargs="?", metavar="LAYER", help="the layer; with --lossless also the directory of a stack")
    parser.add_argument("-D", "--images-dir", type=Path, metavar="DIR", help="the layer's directory, as criu dedup takes it")
    stack(parser)
    parser.add_argument("--lossless", action="store_true", help="only make pages inherited or shared: every layer stays restorable")
    dry_run(parser)


def _dropping(verbs: Verbs) -> None:
    parser = add(verbs, "squash", "replace consecutive layers by the last of them, with all pages it inherited from the others")
    parser.add_argument("layers", metavar="A..B", help="the first and the last layer: S/1..S/4 or S/1..4, or with --stack 1..4")
    stack(parser)
    dry_run(parser)
    parser = add(verbs, "drop", "move layers to the trash; layers that depend on them first take over what they need")
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


def _archives(verbs: Verbs) -> None:
    parser = add(verbs, "export", "write a layer with all it needs into one archive (tar, zstd)")
    layer(parser)
    stack(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the archive, as in NAME.tar.zst; it must not exist")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--with-parents", action="store_true", help="with all its ancestors (the default)")
    which.add_argument("--alone", action="store_true", help="without its ancestors: to be imported where they are")
    which.add_argument("--flat", action="store_true", help="as one full layer, for tools that know nothing of parents")
    parser = add(verbs, "import", "make an archive (of lamina, podman, runc, the kubelet) layers of a stack")
    parser.add_argument("file", type=Path, metavar="FILE", help="the archive, or FILE/NAME for one layer of several in it")
    parser.add_argument("dir", type=Path, metavar="DIR", help="the stack's directory; it is made if it is not there")
    parser.add_argument("--as", dest="name", metavar="NAME", help="what the layer is called")
    parser.add_argument("--trust", action="store_true", help="accept a file that belongs to another user: what is imported is yours")


def _compressing(verbs: Verbs) -> None:
    for name, text in (
        ("compress", "compress the pages of a layer at rest; it is read as before, and expanded before it is restored"),
        ("expand", "bring the pages of a compressed layer back, byte for byte"),
    ):
        parser = add(verbs, name, text)
        layer(parser)
        stack(parser)
        dry_run(parser)
