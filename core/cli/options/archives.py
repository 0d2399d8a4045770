"""Options of the verbs that put layers into archives, and compress them."""

from pathlib import Path

from lamina.core.cli.options.common import Verb, Verbs, add, dry_run, layer, stack

VERBS: dict[str, Verb] = {
    "export": ("archives", "export"),
    "import": ("archives", "import_"),
    "compress": ("archives", "compress"),
    "expand": ("archives", "expand"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
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
    for name, text in (
        ("compress", "compress the pages of a layer at rest; it is read as before, and expanded before it is restored"),
        ("expand", "bring the pages of a compressed layer back, byte for byte"),
    ):
        parser = add(verbs, name, text)
        layer(parser)
        stack(parser)
        dry_run(parser)
