"""stack, show: what can be done with layers alone, without a target and without rights."""

import argparse
import dataclasses
from datetime import datetime

from lamina.core.cli.output import Output, duration, size, table
from lamina.core.events import CancelToken

SHOWN = 100  # records, runs and rows of a file, if nothing else is asked for


def stack(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina stack DIR`."""
    from lamina.core.image.stack import Stack

    rows = [(layer.summary(), layer.parent()) for layer in Stack.open(args.dir).layers]
    value = {
        "dir": args.dir,
        "layers": [dataclasses.asdict(summary) | {"parent_dir": parent.path if parent else None} for summary, parent in rows],
    }
    head = ("LAYER", "PARENT", "OWN", "INHERITED", "ON DISK", "FROZEN", "TIME", "RESTORABLE", "LABEL")
    body = [
        (
            summary.name,
            parent.name if parent else "-",
            f"{summary.own_pages:,}",
            f"{summary.inherited_pages:,}",
            size(summary.disk_bytes),
            duration(summary.freeze_us) if summary.freeze_us else "?",
            datetime.fromtimestamp(summary.time).strftime("%Y-%m-%d %H:%M:%S"),
            "yes" if summary.restorable else f"no: {summary.why_not}",
            summary.label,
        )
        for summary, parent in rows
    ]
    output.result(value, table(head, body, right=frozenset({2, 3, 4, 5})) if body else f"no layers under {args.dir}")
    return 0


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
