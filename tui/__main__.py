"""The console script. A verb is handled by the command line, without importing Textual; without a verb the app is opened."""

import gc
import os
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `lamina` with *argv* (the process's own by default); returns the exit status."""
    # While modules are loaded, and after a verb has ended, Ctrl-C simply ends the process. Verbs and the app handle it themselves.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lamina.core import cli

    args = cli.parse(argv)
    if args.verb == "config":
        from lamina.tui.settings.config_verb import config

        return cli.run(args, config)
    if args.verb == "attach" and args.program is None:
        from lamina.tui.terminal.attach_verb import terminals

        return cli.run(args, terminals)
    if args.verb not in (None, "run", "attach"):
        return cli.run(args)
    if not cli.can_work(args):
        return 1
    _be_quick()
    from lamina.tui.start import run_app

    return run_app(list(sys.argv[1:] if argv is None else argv))


def _be_quick() -> None:
    """Make the screen respond quickly; called before Textual is imported.

    What one key changes is painted in up to three frames, so there are more of them than Textual's 60 a second. A worker thread gives the
    interpreter back after 1 ms instead of 5. Each paint makes thousands of objects: with Python's thresholds nearly every key would start a
    full search for reference cycles, which takes 10 ms with 10,000 processes.
    """
    ours = "TEXTUAL_FPS" not in os.environ
    os.environ.setdefault("TEXTUAL_FPS", "120")
    import textual.constants  # noqa: F401

    if ours:
        del os.environ["TEXTUAL_FPS"]  # programs that are started from the screen must not inherit it
    sys.setswitchinterval(0.001)
    gc.set_threshold(20_000, 20, 50)


if __name__ == "__main__":
    sys.exit(main())
