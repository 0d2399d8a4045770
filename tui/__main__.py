"""The console script: a verb goes to the command line before textual is imported, no verb opens the app."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `lamina` with *argv* (the process's own by default); returns the exit status."""
    from lamina.core import cli

    args = cli.parse(argv)
    if args.verb is not None:
        return cli.run(args)
    from lamina.tui.app import run_app

    return run_app(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
