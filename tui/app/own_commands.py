"""Commands of the user's own on keys, from `[[commands]]` of the configuration: run by the shell in lamina's terminal."""

import shlex

from lamina.tui.app.external import OutsideApp
from lamina.tui.model.session import Session


class CommandedApp(OutsideApp):
    """An app with keys for the user's commands."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        for number, command in enumerate(session.settings.commands):
            self.bind(command.key, f"own_command({number})", description=command.name)

    def action_own_command(self, number: int) -> None:
        """Run the command of that number, filled in for the target."""
        line = self.session.settings.commands[number].run
        if self.session.readonly:
            self.notify(f"{line}: not run, this lamina is read only", severity="warning")
            return
        target = self.session.target
        known = {
            "pid": target.pid if target is not None and target.alive else None,
            "stack": self.session.stack_dir,
            "layer": target.layer if target is not None else None,
        }
        # A path may hold anything that means something to a shell.
        words = {name: shlex.quote(str(value)) for name, value in known.items() if value is not None}
        try:
            self.run_outside(["sh", "-c", line.format(**words)])
        except KeyError as missing:
            self.notify(f"{line}: there is no {missing.args[0]}: press 1 and choose a process", severity="warning")
