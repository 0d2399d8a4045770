"""The options, with CRIU's names long and short where CRIU has them. A file for each group of verbs; imported at every start, so cheap."""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module

from lamina.core.cli.options import reading, running, screen, stacks
from lamina.core.cli.options.common import OneLineParser, Verb
from lamina.core.errors import UsageError

_GROUPS = (running, reading, stacks, screen)
VERBS: dict[str, Verb] = {name: how for group in _GROUPS for name, how in group.VERBS.items()}


class _Version(argparse.Action):
    """Looked up only when asked for: reading the metadata takes as long as all other options together."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        from importlib.metadata import version

        parser.exit(0, f"lamina {version('lamina')}\n")


def expand_verbosity(argv: Sequence[str]) -> list[str]:
    """CRIU's `-v4` is four times `-v`."""
    words: list[str] = []
    for at, word in enumerate(argv):
        if word == "--":
            return words + list(argv[at:])  # what follows is another program's
        if len(word) == 3 and word.startswith("-v") and word[2].isdigit():
            words.extend(["-v"] * int(word[2]))
        else:
            words.append(word)
    return words


def build_parser() -> argparse.ArgumentParser:
    """The parser of every verb, and of `lamina` without one (the TUI's own options)."""
    parser = OneLineParser(
        prog="lamina",
        description="Interactive checkpointing of running programs. Without a verb: the terminal user interface.",
        epilog="lamina VERB --help lists a verb's options. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which lamina this is")
    screen.own_options(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=OneLineParser)
    for group in _GROUPS:
        group.declare(verbs)
    for sub in verbs.choices.values():
        sub.add_argument("--json", action="store_true", help="print one JSON object on standard output")
        sub.add_argument("-o", "--log-file", metavar="FILE", help="log to FILE (relative to the images directory, if there is one)")
        sub.add_argument("-v", dest="verbosity", action="count", default=0, help="log more; -v4 is -v -v -v -v")
    return parser


def handler(verb: str) -> Callable[..., int]:
    """The function that runs *verb*.

    Raises:
        UsageError: the screen's own verbs (`lamina.tui.__main__`) are not part of core.
    """
    if verb not in VERBS:
        raise UsageError(f"lamina {verb}", why="answered by the screen, which is not part of this command line")
    module, function = VERBS[verb]
    found: Callable[..., int] = getattr(import_module(f"lamina.core.cli.{module}"), function)
    return found
