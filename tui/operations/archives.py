"""Operations that export and import layers as archives, and that compress layers or expand them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ImageError
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import layer_command_lines as commands
from lamina.tui.operations.proposal import Proposal
from lamina.tui.operations.stack_changes import Ask, dry_run

if TYPE_CHECKING:
    from lamina.core.archive.compress_plan import CompressResult
    from lamina.core.archive.export import ExportResult
    from lamina.core.archive.importing import ImportResult
    from lamina.core.image.layer import Layer


def export(row: LayerRow, output: Path, form: str) -> Operation:
    """Write the layer into one archive; *form*: "" with its ancestors, "alone", or "flat" as one full layer."""

    def run(work: Work) -> "ExportResult":
        from lamina.core.archive.export import export as write
        from lamina.core.image.layer import Layer

        work.announce(commands.export_line(row.path, output, form))
        return write(Layer(row.path), output, form == "alone", form == "flat", work.listen, work.cancel)

    def summary(done: "ExportResult") -> str:
        return f"{done.output.name}: {units.size(done.bytes_read)} in {units.size(done.bytes_written)}"

    return Operation("export", f"export layer {row.name}", run, summary)


@dataclass(frozen=True)
class ImportPlan:
    """What the user must know before an archive is imported.

    Attributes:
        untrusted: whose it is, if it belongs to somebody else; "" if it can be trusted.
        taken: the name of its layer if the stack has something else of that name; "" if the name is free.
    """

    untrusted: str = ""
    taken: str = ""


def plan_import(archive: Path, stack: Path, then: Ask) -> Operation:
    """What is in *archive*; the proposal's plan is an `ImportPlan`."""

    def make(_work: Work) -> Proposal:
        from lamina.core.image.layer import Layer
        from lamina.core.image.stack import Stack
        from lamina.core.image.storage.archive import ArchiveStorage
        from lamina.core.image.storage.locate import storage_of
        from lamina.core.image.trust import untrusted_archive
        from lamina.tui.read.layer_row import name_in_archive

        storage = storage_of(archive)
        if not isinstance(storage, ArchiveStorage):
            raise ImageError("cannot import", str(archive), "it is a directory, not an archive")
        layers = Stack.open(storage.archive.path).layers
        size = sum(info.size for it in layers for name in it.names() if (info := it.info(name)) and info.is_file)
        names = ", ".join(name_in_archive(it) for it in reversed(layers))
        noun = "layer" if len(layers) == 1 else "layers"
        lines = [
            f"{archive.name} holds {len(layers)} {noun}, {units.size(size)}: {names}.",
            "Each is checked; nothing that is there is overwritten.",
        ]
        plan = ImportPlan(untrusted_archive(storage.archive) or "", _taken(Layer(archive, storage), stack))
        if plan.untrusted:
            lines.append(f"{plan.untrusted}: whoever made it decides what runs when it is restored.")
        return Proposal(plan, tuple(lines), f"{len(layers)} {noun}, {units.size(size)}")

    return dry_run(f"import {archive.name}", commands.import_line(archive, stack), make, then)


def _taken(leaf: "Layer", stack: Path) -> str:
    """The name of *leaf* if another layer of *stack*, or something else in it, has it."""
    from lamina.core.image.stack import Stack
    from lamina.tui.read.layer_row import name_in_archive

    name = name_in_archive(leaf)
    if not os.path.lexists(stack / name):
        return ""
    ids = {it.sidecar.layer_id for it in Stack.open(stack).layers if it.sidecar is not None}
    return "" if leaf.sidecar is not None and leaf.sidecar.layer_id in ids else name


def import_(archive: Path, stack: Path, plan: ImportPlan, name: str, then: Callable[["ImportResult"], None]) -> Operation:
    """Make the layers of *archive* layers of *stack*; *name*: what its layer is called, "" for its own name."""

    def run(work: Work) -> "ImportResult":
        from lamina.core.archive.importing import import_archive

        work.announce(commands.import_line(archive, stack, name, trust=bool(plan.untrusted)))
        return import_archive(archive, stack, name or None, bool(plan.untrusted), work.listen, work.cancel)

    def summary(done: "ImportResult") -> str:
        new = [it.path.name for it in done.layers if not it.reused]
        return f"imported {', '.join(new)}, {units.size(done.bytes_written)}" if new else "all of it was there already"

    return Operation("import", f"import {archive.name}", run, summary, then=then)


def plan_compress_or_expand(row: LayerRow, then: Ask) -> Operation:
    """What compressing the layer, or expanding one that is compressed, would do."""
    verb = "expand" if row.compressed else "compress"

    def make(_work: Work) -> Proposal:
        from lamina.core.archive.compress_plan import plan_compress, plan_expand
        from lamina.core.image.layer import Layer

        found = (plan_expand if row.compressed else plan_compress)(Layer(row.path))
        if not found.files:
            why = f"{', '.join(found.kept)} would not get smaller" if found.kept else "it has no pages file worth it"
            return Proposal(found, (), why, nothing=True)
        before, after = (units.size(sum(count)) for count in zip(*((it.disk_before, it.disk_after) for it in found.files), strict=True))
        about = "" if row.compressed else "about "
        lines = [f"{before} on disk become {about}{after}."]
        lines.append(
            "It can then be restored again." if row.compressed else "It is read as before, and must be expanded before it is restored."
        )
        return Proposal(found, tuple(lines), f"{before} would become {about}{after}")

    return dry_run(f"{verb} layer {row.name}", commands.compress_line(verb, row.path, dry_run=True), make, then)


def compress_or_expand(row: LayerRow) -> Operation:
    """Compress the pages of the layer, or expand them."""
    verb = "expand" if row.compressed else "compress"

    def run(work: Work) -> "CompressResult":
        from lamina.core.archive.compress import compress, expand
        from lamina.core.image.layer import Layer

        work.announce(commands.compress_line(verb, row.path))
        return (expand if row.compressed else compress)(Layer(row.path), work.listen, work.cancel)

    def summary(done: "CompressResult") -> str:
        freed = done.bytes_freed
        return f"{verb}ed; {units.size(freed)} freed" if freed >= 0 else f"{verb}ed; {units.size(-freed)} more in use"

    return Operation(verb, f"{verb} layer {row.name}", run, summary)
