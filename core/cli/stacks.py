"""show: the fields of image files, without a target and without rights."""

import argparse

from lamina.core.cli.output import Output
from lamina.core.events import CancelToken

SHOWN = 100  # records, runs and rows of a file, if nothing else is asked for


def show(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina show FILE|DIR|ARCHIVE [--all | --limit N]`. Text of a whole layer is one line a file, unless more is asked for."""
    from lamina.core.image.show import as_overview, as_text, as_tree

    whole = args.all or (output.json and args.limit is None)
    limit = None if whole else args.limit
    if output.json or whole or limit is not None:
        tree = as_tree(args.path, limit)
        output.result(tree, "" if output.json else as_text(tree))
        return 0
    tree = as_tree(args.path, SHOWN)
    output.result(tree, as_text(tree) if isinstance(tree.get("kind"), str) else as_overview(tree))
    return 0
