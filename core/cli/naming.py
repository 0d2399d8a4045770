"""Which layer a word on the command line means."""

import argparse
from pathlib import Path

from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack


def find_layer(args: argparse.Namespace, dest: str = "layer") -> Layer:
    """The layer that the option *dest* names: by path, or with `--stack DIR` by name or label in that stack.

    Raises:
        ImageError: there is none, it cannot be read, or the label belongs to several.
    """
    word: str = getattr(args, dest)
    return Stack.open(args.stack).find(word) if args.stack is not None else Layer(Path(word))
