"""The user's file of settings: what one sees is kept in it, all else is typed in the user's editor."""

import os
from collections.abc import Mapping

from lamina.core.errors import LaminaError
from lamina.tui import messages
from lamina.tui.app.appearance import fitting_theme
from lamina.tui.bridge import Bridge, is_over
from lamina.tui.model.typed import words_of
from lamina.tui.services.current_session import CurrentSession
from lamina.tui.services.external_programs import ExternalPrograms
from lamina.tui.services.notices import Notices
from lamina.tui.services.type_ahead import TypeAhead
from lamina.tui.widgets.process_columns import DEFAULT


class SettingsFile:
    """The file of one user. What is in there holds from the next start on."""

    def __init__(
        self, current: CurrentSession, bridge: Bridge, notices: Notices, programs: ExternalPrograms, type_ahead: TypeAhead
    ) -> None:
        self._current = current
        self._bridge = bridge
        self._notices = notices
        self._programs = programs
        self._type_ahead = type_ahead

    def keep_appearance(self, theme: str, columns: tuple[str, ...]) -> None:
        """Write the *theme* and the *columns* of the processes into the file, as far as they are not the usual ones."""
        if not self._current.may_change("settings are not written"):
            return
        settings = self._current.value.settings
        chosen = settings.theme if theme == (settings.theme or fitting_theme(os.environ)) else theme
        shown = () if columns == DEFAULT else columns

        def write() -> messages.ViewSaved:
            from lamina.tui.settings.config_verb import keep_appearance

            try:
                return messages.ViewSaved(f"theme and columns are in {keep_appearance(chosen, shown)}")
            except LaminaError as error:
                return messages.ViewSaved(str(error), failed=True)

        self._bridge.ask("settings", write)

    def edit(self) -> None:
        """Open the file in the user's editor, with every setting there is if there was none yet."""
        if self._current.may_change("settings are not written") and self._programs.can_run(editor(os.environ)[0]):
            reading = self._bridge.ask("settings", _ready)
            self._type_ahead.expect("the editor", lambda: is_over(reading))

    def ready(self, message: messages.SettingsReady) -> None:
        """The file is there."""
        if message.why:
            self._notices.tell(message.why, severity="error")
            return
        self._programs.run([*editor(os.environ), str(message.file)])
        self._bridge.ask("settings", _judge)


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
