"""Before a dedup: what the dry run found, what it frees and which layers can no longer be restored."""

from typing import TYPE_CHECKING

from lamina.tui import acts, commands
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model import units

if TYPE_CHECKING:
    from lamina.core.image.shape.dedup import DedupPlan
    from lamina.tui.app import LaminaApp


def ask_dedup(app: "LaminaApp", plan: "DedupPlan") -> None:
    """Show *plan* and apply it if the user wants."""
    layer = plan.layer.path
    lost = [ancestor.name for ancestor in plan.losing]
    if not plan.bytes_freed:
        app.notify(f"no ancestor of layer {layer.name} holds anything it holds itself: nothing to free")
        return
    lines = [f"Dry run: frees {units.size(plan.bytes_freed)} in the ancestors of layer {layer.name}."]
    if lost:
        noun, verb = ("Layer", "is") if len(lost) == 1 else ("Layers", "are")
        lines.append(f"{noun} {', '.join(lost)} {verb} no longer restorable. This cannot be undone.")
    choices = [Choice("cancel", "Cancel"), Choice("dedup", "Dedup", danger=True, command=commands.dedup_line(layer))]

    def answered(choice: str | None) -> None:
        if choice == "dedup":
            app.do(acts.apply_dedup(layer, plan))

    app.push_screen(Confirm(f"Dedup layer {layer.name}", lines, choices), answered)
