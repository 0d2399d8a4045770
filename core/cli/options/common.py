"""What the options of all verbs are made of."""

import argparse
from pathlib import Path
from typing import NoReturn, TypeAlias

Verb: TypeAlias = tuple[str, str]  # (module of lamina.core.cli, function) that runs a verb; the module is imported only then


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        """Print *message* and leave with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


Verbs: TypeAlias = "argparse._SubParsersAction[OneLineParser]"


def pid(text: str) -> int:
    """A process id: a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 0 < value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process id")
    return value


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def seconds(text: str) -> float:
    """A time as in 30s, 10m, 1h, 1d, 1w; more than nothing."""
    return _with_unit(text, {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}, "a time such as 10m, 1h or 1d", least=1)


def byte_count(text: str) -> int:
    """Bytes, also as in 500K, 500M, 2G, 1T (powers of 1024)."""
    return _with_unit(text.upper(), {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}, "a size such as 500M or 2G", least=0)


def _with_unit(text: str, units: dict[str, int], form: str, least: int) -> int:
    number = text.rstrip("".join(units))
    unit = text[len(number) :]
    if unit not in units or not (number.isascii() and number.isdigit()) or len(number) > 15 or int(number) * units[unit] < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")
    return int(number) * units[unit]


def add(verbs: Verbs, name: str, text: str) -> argparse.ArgumentParser:
    """A verb *name* that does *text*."""
    return verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")


def tree(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """`--tree PID`."""
    parser.add_argument("-t", "--tree", type=pid, required=required, metavar="PID", help="the process and all below it")


def images(parser: argparse.ArgumentParser) -> None:
    """`--images-dir DIR`."""
    parser.add_argument("-D", "--images-dir", type=Path, required=True, metavar="DIR", help="the layer's directory")


def stack(parser: argparse.ArgumentParser) -> None:
    """`--stack DIR`: where a LAYER that is no path is looked for, by name or label (`lamina.core.cli.naming`)."""
    # Suppressed: `lamina --stack DIR VERB …` means the same, and a default here would overwrite it.
    parser.add_argument("--stack", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="the stack in which LAYER is a name or label")


def layer(parser: argparse.ArgumentParser, dest: str = "layer", metavar: str = "LAYER") -> None:
    """A layer: its path, a file of an archive, or with `--stack` its name or label. Add `stack` once a verb has one."""
    parser.add_argument(dest, metavar=metavar, help="a layer: its directory or archive, or with --stack its name or label")


def dry_run(parser: argparse.ArgumentParser) -> None:
    """`--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="only say what it would free and what it would cost")
