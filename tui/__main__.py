"""The console script: a verb goes to the command line before textual is imported, no verb opens the app."""

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `lamina` with *argv* (the process's own by default); returns the exit status."""
    # While modules are loaded, and after a verb has ended, Ctrl-C simply ends the process. A verb handles it itself, the app too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lamina.core import cli

    args = cli.parse(argv)
    if args.verb == "config":
        from lamina.tui.config_verb import config

        return cli.run(args, config)
    if args.verb not in (None, "run"):
        return cli.run(args)
    from lamina.tui.app import run_app

    return run_app(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
