"""export, import, compress, expand: layers in archives, and layers at rest."""

import argparse
from typing import TYPE_CHECKING

from lamina.core.cli.naming import find_layer
from lamina.core.cli.output import Output, duration, size
from lamina.core.events import CancelToken

if TYPE_CHECKING:
    from lamina.core.archive.compress_plan import CompressResult


def export(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina export LAYER --output FILE [--alone|--flat]`."""
    from lamina.core.archive.export import export as write

    found = write(find_layer(args), args.output, args.alone, args.flat, output.listen, cancel)
    names = ", ".join(found.layers)
    what = f"layer {names}" if len(found.layers) == 1 else f"layers {names}"
    text = f"{found.output}: {what}: {size(found.bytes_read)} in {size(found.bytes_written)}, took {duration(found.elapsed_us)}"
    output.result(found, text)
    return 0


def import_(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina import FILE DIR [--as NAME]`."""
    from lamina.core.archive.importing import import_archive

    found = import_archive(args.file, args.dir, args.name, args.trust, output.listen, cancel)
    new = ", ".join(it.path.name for it in found.layers if not it.reused)
    old = ", ".join(it.path.name for it in found.layers if it.reused)
    parts = [f"imported {new}, {size(found.bytes_written)}, took {duration(found.elapsed_us)}"] if new else []
    parts += [f"already there: {old}"] if old else []
    output.result(found, f"{args.dir}: " + "; ".join(parts))
    return 0


def compress(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina compress LAYER [--dry-run]`."""
    from lamina.core.archive.compress import compress as pack
    from lamina.core.archive.compress_plan import plan_compress

    layer = find_layer(args)
    found = plan_compress(layer) if args.dry_run else pack(layer, output.listen, cancel)
    output.result(_value(found, args.dry_run), _text(found, args.dry_run, "compress"))
    return 0


def expand(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina expand LAYER [--dry-run]`."""
    from lamina.core.archive.compress import expand as unpack
    from lamina.core.archive.compress_plan import plan_expand

    layer = find_layer(args)
    found = plan_expand(layer) if args.dry_run else unpack(layer, output.listen, cancel)
    output.result(_value(found, args.dry_run), _text(found, args.dry_run, "expand"))
    return 0


def _value(found: "CompressResult", dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "layer": found.layer,
        "files": found.files,
        "kept": found.kept,
        "bytes_freed": found.bytes_freed,
        "elapsed_us": found.elapsed_us,
    }


def _text(found: "CompressResult", dry_run: bool, verb: str) -> str:
    if not found.files:
        what = f"{', '.join(found.kept)} would not get smaller" if found.kept else f"no pages file that can be {verb}ed"
        return f"{found.layer}: {what}; nothing was changed"
    before, after = sum(file.disk_before for file in found.files), sum(file.disk_after for file in found.files)
    names = ", ".join(file.name for file in found.files)
    if dry_run:
        about = "about " if verb == "compress" else ""
        return f"{found.layer}: would {verb} {names}: {size(before)} on disk become {about}{size(after)}"
    return f"{found.layer}: {verb}ed {names}: {size(before)} on disk became {size(after)}, took {duration(found.elapsed_us)}"
