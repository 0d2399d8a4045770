"""Before a dedup: what each way frees, and which layers can no longer be restored after the one that loses something."""

from pathlib import Path

from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.operations import command_lines, deduplication, layer_command_lines
from lamina.tui.operations.deduplication import Thinning
from lamina.tui.services.base_app import BaseApp


def ask_dedup(app: BaseApp, row: LayerRow, stack: Path) -> None:
    """Do a dry run, show what it found, and do what the user chooses."""
    app.do(deduplication.plan_thinning(row, stack, lambda found: _show(app, found)))


def _show(app: BaseApp, found: Thinning) -> None:
    row, stack = found.row, found.stack
    loses = found.dedup is not None and bool(found.dedup.losing)
    doable = {
        "layer": Choice("layer", "Lossless, layer", command=layer_command_lines.lossless_line(row.path)) if found.layer_bytes else None,
        "stack": Choice("stack", "Lossless, stack", command=layer_command_lines.lossless_line(stack)) if found.stack_bytes else None,
        "dedup": Choice("dedup", "Dedup", danger=True, worst=loses, command=command_lines.dedup_line(row.path))
        if found.punched_bytes
        else None,
    }
    choices = [choice for choice in doable.values() if choice is not None]
    if not choices:
        app.notify(f"layer {row.name}: no ancestor holds what it holds itself, and no page is held twice: nothing to free")
        return

    def answered(choice: str | None) -> None:
        if choice == "dedup" and found.dedup is not None:
            app.do(deduplication.dedup(found.dedup))
        elif choice in ("layer", "stack"):
            app.do(deduplication.lossless(stack, row.path if choice == "layer" else None))

    app.push_screen(Confirm(f"Dedup layer {row.name}", _lines(found), [Choice("cancel", "Cancel"), *choices]), answered)


def _lines(found: Thinning) -> list[str]:
    return [_dedup_line(found), _lossless_line(found)]


def _dedup_line(found: Thinning) -> str:
    if found.dedup is None:
        return f"Dry run: dedup cannot: {found.why_not}."
    if not found.punched_bytes:
        return "Dry run: dedup frees nothing: the ancestors hold no page that it holds itself."
    line = f"Dry run: frees {units.size(found.punched_bytes)} in the ancestors of layer {found.row.name}."
    lost = [ancestor.name for ancestor in found.dedup.losing]
    if lost:
        noun, verb = ("Layer", "is") if len(lost) == 1 else ("Layers", "are")
        line += f"\n{noun} {', '.join(lost)} {verb} no longer restorable. This cannot be undone."
    if found.dedup.pinned:
        line += f"\nPinned, and left whole: {', '.join(it.name for it in found.dedup.pinned)}."
    return line


def _lossless_line(found: Thinning) -> str:
    if not found.stack_bytes:
        return "Lossless: no layer holds a page that its parent has as well."
    own = f"{units.size(found.layer_bytes)} in this layer" if found.layer_bytes else "nothing in this layer"
    return f"Lossless: frees {own}, {units.size(found.stack_bytes)} in the whole stack. Every layer stays as restorable as it is."
