"""Asks for the label of a layer, and for the reason why it is pinned."""

from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.model.layers import LayerRow
from lamina.tui.operations import labels
from lamina.tui.services.base_app import BaseApp


def ask_label(app: BaseApp, row: LayerRow) -> None:
    """Ask for a label."""

    def answered(text: str | None) -> None:
        if text is not None and text.strip() != row.label:
            app.do(labels.label(row.path, text.strip()))

    app.push_screen(AskText(f"label of layer {row.name}", "as in: after import; empty takes it away", row.label), answered)


def ask_pin(app: BaseApp, row: LayerRow) -> None:
    """Pin the layer, after asking for a reason. If it is pinned, unpin it without a question."""
    if row.pinned:
        app.type_ahead.asks_for_nothing()
        app.do(labels.unpin(row.path))
        return

    def answered(reason: str | None) -> None:
        if reason is not None:
            app.do(labels.pin(row.path, reason.strip()))

    app.push_screen(AskText(f"pin layer {row.name}: why?", "may be empty; drop, squash and prune then leave it alone"), answered)
