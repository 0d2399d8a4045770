"""What a widget shows, as text: copied, or to be saved."""

from textual.geometry import Region
from textual.widget import Widget

from lamina.tui.model.view import View
from lamina.tui.services.base_app import BaseApp
from lamina.tui.widgets.log_view import LogView
from lamina.tui.widgets.row_list import RowList


def copy_row(app: BaseApp) -> None:
    """Copy what the mouse marked, else the row under the cursor."""
    focused = app.focused
    marked = app.screen.get_selected_text()
    if marked:
        app.copy(marked)
    elif isinstance(focused, RowList | LogView):
        app.copy(focused.copy_text())
    else:
        app.copy("")


def view_of(widget: Widget | None) -> View:
    """What *widget* shows: all its rows, or the lines that are on the screen."""
    if isinstance(widget, RowList | LogView):
        return widget.view()
    if widget is None:
        return View("")
    return View(widget.id or "", tuple(strip.text.rstrip() for strip in widget.render_lines(Region(0, 0, *widget.size))))
