"""Opens the screen as the command line asks."""

import os
import sys

from lamina.core.errors import LaminaError, UsageError
from lamina.tui.app.lamina import LaminaApp, run
from lamina.tui.model.session import Session
from lamina.tui.read.stacks import stack_at
from lamina.tui.settings.config import configure


def run_app(argv: list[str]) -> int:
    """Open the TUI; *argv* holds its options and no verb (`lamina --help` lists them). Returns the exit code."""
    from lamina.core import cli

    args = cli.parse(argv)
    try:
        settings = configure(args).settings
        terminal = None
        if args.verb == "attach":
            from lamina.tui.terminal.attach_verb import chosen

            terminal = chosen(args.program, args.take, settings.readonly)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("the screen needs a terminal; `lamina --help` lists the verbs")
    except LaminaError as error:
        print(f"lamina: {error}", file=sys.stderr)
        return error.exit_code
    if settings.stacks is not None:
        os.environ["LAMINA_STACKS"] = str(settings.stacks)
    session = Session(stack_at(args.stack) if args.stack else None, settings.readonly, settings=settings)
    if args.demo:
        from lamina.tui.demo.run import run_demo

        return run_demo(session)
    app = LaminaApp(session)
    if args.stack and args.stack.absolute() != session.stack_option:
        app.stack.follow(args.stack.absolute())  # the path was that of one layer
    if args.verb == "run":
        app.first_command = args.command
    elif args.verb == "attach":
        app.terminals.wanted, app.terminals.takes_over = terminal, args.take
    code = run(app)
    for line in (*app.terminals.what_runs_on(), *app.timed.what_ends(), *app.reader.what_stays(app.journal)):
        print(line, file=sys.stderr)
    return code
