"""Commands of the user's own on keys, from `[[commands]]` of the configuration: run by the shell in lamina's terminal."""

import shlex

from lamina.tui.model.session import Session


def filled_in(line: str, session: Session) -> str:
    """*line* with `{pid}`, `{stack}` and `{layer}` of the target.

    Raises:
        KeyError: there is no such thing; its argument says what.
    """
    target = session.target
    known = {
        "pid": target.pid if target is not None and target.alive else None,
        "stack": session.stack_dir,
        "layer": target.layer if target is not None else None,
    }
    # A path may hold anything that means something to a shell.
    return line.format(**{name: shlex.quote(str(value)) for name, value in known.items() if value is not None})
