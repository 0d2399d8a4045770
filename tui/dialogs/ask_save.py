"""Asks for a file, and saves there what the focused pane shows, or a picture of the screen."""

import os
from pathlib import Path

from lamina.tui import messages
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.model.view import PICTURE, View, free_name, why_not
from lamina.tui.paths import typed_path
from lamina.tui.services.base_app import BaseApp
from lamina.tui.services.base_screen import BaseScreen
from lamina.tui.widgets.views import view_of


def ask_save(app: BaseApp) -> None:
    """Ask, and save."""
    view = view_of(app.focused)

    def answered(name: str | None) -> None:
        if name:
            # A picture is of the screen without the question.
            app.call_after_refresh(_save, app, view, typed_path(name))

    where = app.screen.NAME if isinstance(app.screen, BaseScreen) else ""
    title = f"save {view.content} as {' '.join(view.forms[:-1])}, or the screen as {PICTURE}"
    app.push_screen(AskText(title, "a file name", free_name(view, where), lambda name: why_not(name, view)), answered)


def _save(app: BaseApp, view: View, path: Path) -> None:
    form = path.suffix
    picture = app.export_screenshot() if form == PICTURE else ""

    def save() -> messages.ViewSaved:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)  # it may show what memory holds
            with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(picture or view.as_file(form))
        except OSError as error:
            return messages.ViewSaved(f"cannot save {path}: {error.strerror}", failed=True)
        return messages.ViewSaved(f"saved {'the screen' if picture else view.content} in {path}")

    app.bridge.ask("save", save)
