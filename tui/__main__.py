"""The console script: a verb goes to the command line before textual is imported, no verb opens the app."""

import gc
import os
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
    """Before textual is imported: what one key changes is painted in up to three steps, each in the next frame, so frames come faster than
    its 60 a second. A thread that works lets the screen have the interpreter after 1 ms instead of 5. Each paint leaves thousands of
    objects behind: with Python's thresholds all that lives would be searched for cycles with nearly every key, 10 ms with 10,000 processes.
    """
    ours = "TEXTUAL_FPS" not in os.environ
    os.environ.setdefault("TEXTUAL_FPS", "120")
    import textual.constants  # noqa: F401

    if ours:
        del os.environ["TEXTUAL_FPS"]  # programs that are started from the screen have their own
    sys.setswitchinterval(0.001)
    gc.set_threshold(20_000, 20, 50)


if __name__ == "__main__":
    sys.exit(main())
