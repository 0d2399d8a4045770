"""stack, show, dedup: what can be done with layers alone, without a target and without rights."""

import argparse

from lamina.core.cli.output import Output, duration, pages, size, table
from lamina.core.events import CancelToken


def stack(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina stack DIR`."""
    from lamina.core.image.stack import Stack

    found = Stack.open(args.dir)
    rows = []
    for layer in found.layers:
        summary = layer.summary()
        parent = layer.parent()
        rows.append((layer, summary, parent))
    value = {
        "dir": args.dir,
        "layers": [
            {"name": layer.path.name, "parent": parent.path.name if parent else None, "summary": summary} for layer, summary, parent in rows
        ],
    }
    head = ("LAYER", "PARENT", "OWN", "INHERITED", "ON DISK", "FROZEN", "TIME", "RESTORABLE", "LABEL")
    body = [
        (
            layer.path.name,
            parent.path.name if parent else "-",
            f"{summary.own_pages:,}",
            f"{summary.inherited_pages:,}",
            size(summary.bytes_on_disk),
            duration(summary.freeze_us) if summary.freeze_us is not None else "?",
            str(summary.time),
            "yes" if summary.restorable else f"no: {summary.why}",
            summary.label,
        )
        for layer, summary, parent in rows
    ]
    output.result(value, table(head, body, right=frozenset({2, 3, 4, 5})) if body else f"no layers under {args.dir}")
    return 0


def show(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina show FILE|DIR`."""
    from lamina.core.image.show import as_text, as_tree

    tree = as_tree(args.path)
    output.result(tree, "" if output.json else as_text(tree))
    return 0


def dedup(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina dedup -D DIR [--dry-run]`."""
    from lamina.core.image.dedup import apply_dedup, plan_dedup
    from lamina.core.image.layer import Layer

    plan = plan_dedup(Layer(args.images_dir))
    if not args.dry_run:
        apply_dedup(plan)
    verb = "would free" if args.dry_run else "freed"
    text = f"{verb} {pages(plan.pages)}"
    if plan.losing:
        names = ", ".join(layer.path.name for layer in plan.losing)
        text += f"; {'these could no longer be restored' if args.dry_run else 'no longer restorable'}: {names}"
    output.result({"dry_run": args.dry_run, "plan": plan}, text)
    return 0
