"""From words to a verb, from whatever happens to one line and an exit status."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lamina.core.cli.limits import check_own, one_thread, ran_out
from lamina.core.cli.options import build_parser, expand_verbosity, handler
from lamina.core.cli.output import Output, open_log
from lamina.core.errors import EXIT_FAILED, LaminaError
from lamina.core.events import CancelToken


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of *argv*; `verb` is None if the TUI is meant. Wrong usage is one line and exit status 2."""
    return build_parser().parse_args(expand_verbosity(sys.argv[1:] if argv is None else argv))


def can_work(args: argparse.Namespace) -> bool:
    """Whether lamina's own limits leave it enough to work with; says so if not."""
    try:
        check_own()
    except LaminaError as error:
        Output(getattr(args, "json", False), Path(os.devnull)).error(error)
        return False
    return True


def run(args: argparse.Namespace, how: Callable[..., int] | None = None) -> int:
    """Run the verb of *args*, or *how* in its place; returns the exit status, never raises."""
    if not can_work(args):
        return EXIT_FAILED
    one_thread()
    output = Output(args.json, open_log(args.log_file, getattr(args, "images_dir", None), args.verbosity))
    cancel = CancelToken()
    try:
        with _signals_cancel(cancel):
            return (how or handler(args.verb))(args, output, cancel)
    except LaminaError as error:
        output.error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (`lamina show … | head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        output.error(LaminaError("interrupted"))
        return EXIT_FAILED
    except Exception as error:
        if out := ran_out(error):
            output.error(out)
        else:
            output.crash(error)
        return EXIT_FAILED


@contextmanager
def _signals_cancel(cancel: CancelToken) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the work to stop at its next check; the second interrupts it, unless it is too late for that."""

    def on_signal(_number: int, _frame: object) -> None:
        if cancel.cancelled and not cancel.goes_on:
            raise KeyboardInterrupt
        cancel.cancel()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def main(argv: Sequence[str] | None = None) -> int:
    """A verb from the command line. Without one, or for `--help`, says how to use it."""
    args = parse(argv)
    if args.verb is None:
        build_parser().print_help()
        return 2
    return run(args)
