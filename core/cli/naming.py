"""Which layer a word on the command line means."""

import argparse
from pathlib import Path

from lamina.core.errors import ImageError, UsageError
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack


def find_layer(args: argparse.Namespace, dest: str = "layer") -> Layer:
    """The layer that the option *dest* names: by path, or with `--stack DIR` by name or label in that stack.

    Raises:
        ImageError: there is none, it cannot be read, or the label belongs to several.
    """
    word: str = getattr(args, dest)
    return Stack.open(args.stack).find(word) if args.stack is not None else Layer(Path(word))


def find_range(args: argparse.Namespace, dest: str = "layers") -> tuple[Layer, Layer]:
    """The two layers that `A..B` names: both by path, B also by its name beside A; or with `--stack DIR` both by name or label.

    Names may hold ".." themselves: the place to cut is where both sides are layers.

    Raises:
        UsageError: there is no "..", or there are several ways to read it.
        ImageError: one of the two is no layer.
    """
    word: str = getattr(args, dest)
    cuts = [at for at in range(1, len(word) - 2) if word[at : at + 2] == ".."]
    if not cuts:
        raise UsageError("wrong range", word, "it is not of the form A..B")
    found: list[tuple[Layer, Layer]] = []
    failed: list[ImageError] = []
    for at in cuts:
        try:
            found.append(_pair(args, word[:at], word[at + 2 :]))
        except ImageError as error:
            failed.append(error)
    if not found:
        raise failed[0]
    if len({(first.key, last.key) for first, last in found}) > 1:
        raise UsageError("wrong range", word, "it can be read in several ways", "give the paths in another form, or --stack DIR and names")
    return found[0]


def _pair(args: argparse.Namespace, first: str, last: str) -> tuple[Layer, Layer]:
    if args.stack is not None:
        stack = Stack.open(args.stack)
        return stack.find(first), stack.find(last)
    below = Path(first).parent / last
    beside = "/" not in last and not Path(last).is_dir() and below.is_dir()
    return Layer(Path(first)), Layer(below if beside else Path(last))
