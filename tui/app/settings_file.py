"""The part of the app that settings are changed from: what one sees is kept, all else is typed in the user's editor."""

import os
from collections.abc import Mapping

from lamina.core.errors import LaminaError
from lamina.tui import messages
from lamina.tui.app.appearance import fitting_theme
from lamina.tui.app.navigation import MovingApp
from lamina.tui.bridge import is_over
from lamina.tui.dialogs.new_program import words_of
from lamina.tui.widgets.process_columns import DEFAULT


class SettingApp(MovingApp):
    """An app that writes the user's file of settings when it is asked to. What is in there holds from the next start on."""

    def columns_shown(self) -> tuple[str, ...]:
        """The columns of the processes."""
        raise NotImplementedError

    def keep_appearance(self) -> None:
        """Write the theme and the columns of the processes into the file."""
        if not self.may_change("settings are not written"):
            return
        settings, shown = self.session.settings, self.columns_shown()
        theme = settings.theme if self.theme == (settings.theme or fitting_theme(os.environ)) else self.theme
        columns = () if shown == DEFAULT else shown

        def write() -> messages.ViewSaved:
            from lamina.tui.settings.config_verb import keep_appearance

            try:
                return messages.ViewSaved(f"theme and columns are in {keep_appearance(theme, columns)}")
            except LaminaError as error:
                return messages.ViewSaved(str(error), failed=True)

        self.bridge.ask("settings", write)

    def edit_settings(self) -> None:
        """Open the file in the user's editor, with every setting there is if there was none yet."""
        if self.may_change("settings are not written") and self.can_run(editor(os.environ)[0]):
            looking = self.bridge.ask("settings", _ready)
            self.type_ahead.expect("the editor", lambda: is_over(looking))

    def on_settings_ready(self, message: messages.SettingsReady) -> None:
        """The file is there."""
        if message.why:
            self.notify(message.why, severity="error")
            return
        self.run_outside([*editor(os.environ), str(message.file)])
        self.bridge.ask("settings", _judge)


def editor(environ: Mapping[str, str]) -> list[str]:
    """The user's editor, or vi."""
    return words_of(environ.get("VISUAL") or environ.get("EDITOR") or "") or ["vi"]


def _ready() -> messages.SettingsReady:
    from lamina.tui.settings.config import user_file
    from lamina.tui.settings.config_verb import keep_all

    file = user_file()
    try:
        return messages.SettingsReady(file if file.exists() else keep_all())
    except LaminaError as error:
        return messages.SettingsReady(file, str(error))


def _judge() -> messages.ViewSaved:
    from lamina.tui.settings.config import configure, user_file

    try:
        configure()
    except LaminaError as error:
        return messages.ViewSaved(str(error), failed=True)
    return messages.ViewSaved(f"what is in {user_file()} holds from the next start on")
