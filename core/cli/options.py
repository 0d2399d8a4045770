"""The options, with CRIU's names long and short where CRIU has them."""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TypeAlias

# verb → (module, function) that runs it; the module is imported only then.
VERBS: dict[str, tuple[str, str]] = {
    "dump": ("dumping", "dump"),
    "pre-dump": ("dumping", "pre_dump"),
    "restore": ("restoring", "restore"),
    "track": ("dumping", "track"),
    "untrack": ("dumping", "untrack"),
    "dedup": ("stacks", "dedup"),
    "check": ("system", "check"),
    "ps": ("system", "ps"),
    "stack": ("stacks", "stack"),
    "show": ("stacks", "show"),
}


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        """Print *message* and leave with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Looked up only when asked for: reading the metadata takes as long as all other options together."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        from importlib.metadata import version

        parser.exit(0, f"lamina {version('lamina')}\n")


def pid(text: str) -> int:
    """A process id: a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 0 < value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process id")
    return value


def expand_verbosity(argv: Sequence[str]) -> list[str]:
    """CRIU's `-v4` is four times `-v`."""
    words: list[str] = []
    for word in argv:
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
    parser.add_argument("--stack", type=Path, metavar="DIR", help="keep the layers of the TUI under DIR")
    parser.add_argument("--demo", action="store_true", help="open the TUI on a small bundled program")
    parser.add_argument("--readonly", action="store_true", help="let the TUI look, and change nothing")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=OneLineParser)
    for add in (_dumps, _restore, _tracking, _dedup, _system, _stacks):
        add(verbs)
    for sub in verbs.choices.values():
        sub.add_argument("--json", action="store_true", help="print one JSON object on standard output")
        sub.add_argument("-o", "--log-file", metavar="FILE", help="log to FILE (relative to the images directory, if there is one)")
        sub.add_argument("-v", dest="verbosity", action="count", default=0, help="log more; -v4 is -v -v -v -v")
    return parser


Verbs: TypeAlias = "argparse._SubParsersAction[OneLineParser]"


def _add(verbs: Verbs, name: str, text: str) -> argparse.ArgumentParser:
    return verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")


def _tree(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("-t", "--tree", type=pid, required=required, metavar="PID", help="the process and all below it")


def _images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-D", "--images-dir", type=Path, required=True, metavar="DIR", help="the layer's directory")


def _dumps(verbs: Verbs) -> None:
    for name, text in (
        ("dump", "write a running tree as a layer"),
        ("pre-dump", "write its memory only: a parent for the next dump, not restorable by itself"),
    ):
        parser = _add(verbs, name, text)
        _tree(parser)
        _images(parser)
        if name == "dump":
            parser.add_argument("-R", "--leave-running", action="store_true", help="let the tree run on after the dump")
        parser.add_argument("--track-mem", action="store_true", help="track writes from now on, for an incremental dump after this")
        parser.add_argument("--prev-images-dir", metavar="DIR", help="the parent layer, relative to the images directory")
        parser.add_argument("--auto-dedup", action="store_true", help="take out of the ancestors what this layer holds itself")
        parser.add_argument("-j", "--shell-job", action="store_true", help="the tree belongs to a terminal session outside it")
        parser.add_argument("--label", default="", help="a name for the layer")


def _restore(verbs: Verbs) -> None:
    parser = _add(verbs, "restore", "bring a layer back as a running tree")
    _images(parser)
    parser.add_argument("-d", "--restore-detached", action="store_true", help="return at once; init becomes its parent")
    parser.add_argument("-j", "--shell-job", action="store_true", help="give it our session and terminal")
    parser.add_argument("--pidfile", type=Path, metavar="FILE", help="write the root's pid to FILE")
    parser.add_argument("--replace", action="store_true", help="end the running tree of the same pids first")
    parser.add_argument("--no-rescue", action="store_true", help="with --replace: do not dump the running tree before it is ended")
    parser.add_argument("--trust", action="store_true", help="accept images that belong to another user: they run with your rights")


def _tracking(verbs: Verbs) -> None:
    parser = _add(verbs, "track", "start tracking a tree's writes")
    _tree(parser)
    parser = _add(verbs, "untrack", "end tracking; nothing of lamina stays in the tree")
    _tree(parser)


def _dedup(verbs: Verbs) -> None:
    parser = _add(verbs, "dedup", "take out of the ancestors the pages a layer holds itself")
    _images(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what it would free and which layers it costs")


def _system(verbs: Verbs) -> None:
    parser = _add(verbs, "check", "what the kernel offers; with -t, what stands in the way of dumping a tree")
    _tree(parser, required=False)
    parser.add_argument("-j", "--shell-job", action="store_true", help="as in dump")
    _add(verbs, "ps", "the process tree, and what is tracked")


def _stacks(verbs: Verbs) -> None:
    parser = _add(verbs, "stack", "the layers under a directory")
    parser.add_argument("dir", type=Path, metavar="DIR")
    parser = _add(verbs, "show", "every field of every image file of a layer")
    parser.add_argument("path", type=Path, metavar="FILE|DIR")


def handler(verb: str) -> Callable[..., int]:
    """The function that runs *verb*."""
    module, function = VERBS[verb]
    found: Callable[..., int] = getattr(import_module(f"lamina.core.cli.{module}"), function)
    return found
