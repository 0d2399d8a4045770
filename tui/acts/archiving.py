"""Acts that put layers into archives, take them out, and compress them at rest."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.tui import layer_commands as commands
from lamina.tui.acts.act import Act
from lamina.tui.acts.proposal import Proposal
from lamina.tui.acts.shaping import Ask, dry_run
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow

if TYPE_CHECKING:
    from lamina.core.image.archive.export import ExportResult
    from lamina.core.image.archive.importing import ImportResult
    from lamina.core.image.archive.rest import RestResult
    from lamina.tui.bridge import Work


def export(row: LayerRow, output: Path, form: str) -> Act:
    """Write the layer into one archive; *form*: "" with its ancestors, "alone", or "flat" as one full layer."""

    def run(work: "Work") -> "ExportResult":
        from lamina.core.image.archive.export import export as write
        from lamina.core.image.layer import Layer

        work.announce(commands.export_line(row.path, output, form))
        return write(Layer(row.path), output, form == "alone", form == "flat", work.listen, work.cancel)

    def summary(done: "ExportResult") -> str:
        return f"{done.output.name}: {units.size(done.bytes_read)} in {units.size(done.bytes_written)}"

    return Act("export", f"export layer {row.name}", run, summary)


def plan_import(archive: Path, stack: Path, then: Ask) -> Act:
    """What is in *archive*, and whether it is to be trusted: the plan is whether it has to be said that it is."""

    def make(_work: "Work") -> Proposal:
        from lamina.core.errors import ImageError
        from lamina.core.image.places.place import place_of
        from lamina.core.image.places.tarball import ArchivePlace
        from lamina.core.image.stack import Stack
        from lamina.core.image.trust import untrusted_file

        place = place_of(archive)
        if not isinstance(place, ArchivePlace):
            raise ImageError("cannot import", str(archive), "it is a directory, not an archive")
        layers = Stack.open(place.archive.path).layers
        size = sum(info.size for it in layers for name in it.names() if (info := it.info(name)) and info.is_file)
        names = ", ".join(it.name for it in reversed(layers))
        noun = "layer" if len(layers) == 1 else "layers"
        lines = [
            f"{archive.name} holds {len(layers)} {noun}, {units.size(size)}: {names}.",
            "Each is checked; nothing that is there is overwritten.",
        ]
        whose = untrusted_file(place.archive.path)
        if whose:
            lines.append(f"{whose}: whoever made it decides what runs when it is restored.")
        return Proposal(bool(whose), tuple(lines), f"{len(layers)} {noun}, {units.size(size)}")

    return dry_run(f"import {archive.name}", commands.import_line(archive, stack, trust=False), make, then)


def import_(archive: Path, stack: Path, trust: bool, then: Callable[["ImportResult"], None]) -> Act:
    """Make the layers of *archive* layers of *stack*."""

    def run(work: "Work") -> "ImportResult":
        from lamina.core.image.archive.importing import import_archive

        work.announce(commands.import_line(archive, stack, trust))
        return import_archive(archive, stack, None, trust, work.listen, work.cancel)

    def summary(done: "ImportResult") -> str:
        new = [it.path.name for it in done.layers if not it.reused]
        return f"imported {', '.join(new)}, {units.size(done.bytes_written)}" if new else "all of it was there already"

    return Act("import", f"import {archive.name}", run, summary, then=then)


def plan_rest(row: LayerRow, then: Ask) -> Act:
    """What compressing the layer, or expanding one that is compressed, would do."""
    verb = "expand" if row.compressed else "compress"

    def make(_work: "Work") -> Proposal:
        from lamina.core.image.archive.rest import plan_compress, plan_expand
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

    return dry_run(f"{verb} layer {row.name}", commands.rest_line(verb, row.path, dry_run=True), make, then)


def rest(row: LayerRow) -> Act:
    """Compress the pages of the layer, or bring them back."""
    verb = "expand" if row.compressed else "compress"

    def run(work: "Work") -> "RestResult":
        from lamina.core.image.archive.compress import compress, expand
        from lamina.core.image.layer import Layer

        work.announce(commands.rest_line(verb, row.path))
        return (expand if row.compressed else compress)(Layer(row.path), work.listen, work.cancel)

    def summary(done: "RestResult") -> str:
        freed = done.bytes_freed
        return f"{verb}ed; {units.size(freed)} freed" if freed >= 0 else f"{verb}ed; {units.size(-freed)} more in use"

    return Act(verb, f"{verb} layer {row.name}", run, summary)
