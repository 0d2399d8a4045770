"""dedup: what the layers of a stack hold twice, taken out or shared."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.cli.naming import find_layer
from lamina.core.cli.output import Output, pages, size
from lamina.core.errors import UsageError
from lamina.core.events import CancelToken

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer
    from lamina.core.rewrite.lossless import LosslessPlan


def dedup(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina dedup LAYER|-D DIR [--dry-run]`, and with `--lossless` of a layer or of a whole stack."""
    if args.images_dir is not None and args.layer is not None:
        raise UsageError("dedup", "", "it takes LAYER or --images-dir, not both")
    if args.lossless:
        return _lossless(args, output, cancel)
    layer = _layer(args)
    if layer is None:
        raise UsageError("dedup", "", "which layer? It takes LAYER or --images-dir", "a whole stack only with --lossless")
    return _punching(args, layer, output, cancel)


def _layer(args: argparse.Namespace) -> "Layer | None":
    from lamina.core.image.layer import Layer

    if args.images_dir is not None:
        return Layer(args.images_dir)
    return None if args.layer is None else find_layer(args)


def _punching(args: argparse.Namespace, layer: "Layer", output: Output, cancel: CancelToken) -> int:
    from lamina.core.rewrite.dedup import dedup as run
    from lamina.core.rewrite.dedup import plan_dedup

    if args.dry_run:
        plan = plan_dedup(layer)
        freed = plan.bytes_freed
    else:
        plan, freed = run(layer, output.listen, cancel)
    value = {
        "dry_run": args.dry_run,
        "layer": plan.layer.path,
        "pages": plan.pages,
        "bytes_freed": freed,
        "losing": [it.path for it in plan.losing],
        "pinned": [it.path for it in plan.pinned],
        "cuts": [
            {"layer": cut.layer.path, "file": cut.pages_file, "pages": cut.ranges.pages, "bytes_freed": cut.bytes_freed}
            for cut in plan.cuts
        ],
    }
    text = f"{'would take' if args.dry_run else 'took'} {pages(plan.pages)} out of the ancestors, {size(freed)} on disk"
    if plan.losing:
        names = ", ".join(it.name for it in plan.losing)
        text += f"; these {'could' if args.dry_run else 'can'} no longer be restored: {names}"
    if plan.pinned:
        text += f"; pinned, and left whole: {', '.join(it.name for it in plan.pinned)}"
    output.result(value, text)
    return 0


def _lossless(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    from lamina.core.image.lock import stack_of
    from lamina.core.rewrite.lossless import apply_lossless, plan_lossless

    directory = _stack_directory(args)
    layer = _layer(args) if directory is None else None
    if directory is None:
        if layer is None:
            raise UsageError("dedup", "", "of which layer or stack? It takes LAYER, --images-dir or --stack")
        directory = stack_of(layer.directory)
    act = plan_lossless if args.dry_run else apply_lossless
    plan = act(directory, None if layer is None else [layer.directory], output.listen, cancel)
    equal = plan.equal
    value = {
        "dry_run": args.dry_run,
        "stack": plan.stack,
        "pages": plan.pages,
        "bytes_freed": plan.bytes_freed,
        "equal_pages": equal.pages if equal else None,
        "already_shared_pages": equal.shared if equal else None,
        "shared_bytes": plan.shared_bytes,
        "not_shared_because": plan.why_not,
        "layers": [
            {"layer": it.layer.path, "own_pages": it.own_pages, "inherited": it.pages, "bytes_freed": it.bytes_freed} for it in plan.layers
        ],
        "skipped": [{"layer": it.path, "why": why} for it, why in plan.skipped],
    }
    output.result(value, "\n".join(_lossless_lines(plan, args.dry_run)))
    return 0


def _stack_directory(args: argparse.Namespace) -> Path | None:
    """The stack that is meant as a whole, or None if a layer is meant."""
    word = args.images_dir if args.images_dir is not None else args.layer
    if word is None:
        found: Path | None = getattr(args, "stack", None)
        return found
    path = Path(word)
    is_stack = path.is_dir() and not (path / "inventory.img").exists()
    return path if is_stack and (args.images_dir is not None or getattr(args, "stack", None) is None) else None


def _lossless_lines(plan: "LosslessPlan", dry_run: bool) -> list[str]:
    would = "would become" if dry_run else "became"
    lines = [
        f"{it.layer.name}: {pages(it.pages)} of its own {it.own_pages:,} {would} inherited, {size(it.bytes_freed)} on disk"
        for it in plan.layers
        if it.pages
    ]
    lines += [f"{it.name} stays as it is: {why}" for it, why in plan.skipped]
    if not plan.pages:
        lines.append("no layer holds a page that its parent has as well")
    if plan.equal is None:
        lines.append(f"other equal pages were not looked for: {plan.why_not}")
    elif not plan.equal.pages:
        lines.append("no other page of the stack is held twice")
    elif plan.why_not:
        lines.append(f"{pages(plan.equal.pages)} more are equal to another page of the stack, but stay: {plan.why_not}")
    elif dry_run:
        lines.append(f"{pages(plan.equal.pages)} more are equal to another page of the stack, and would share its blocks")
    else:
        lines.append(f"{size(plan.shared_bytes)} more now share the blocks of an equal page of the stack")
    lines.append("every layer stays as restorable as it is" if dry_run else "every layer is as restorable as before")
    return lines
