"""A layer that is being read for a restore must not lose pages meanwhile: a shared lock keeps dedup and other writers of its stack away."""

from collections.abc import Iterator
from contextlib import contextmanager

from lamina.core.image.layer import Layer
from lamina.core.image.lock import shared, stack_of


@contextmanager
def reading(layer: Layer) -> Iterator[None]:
    """Hold the stacks of *layer* and of all its ancestors against writers.

    Raises:
        BusyError: somebody writes there now; it is named.
        ImageError: an ancestor is missing, lies in an archive, or is compressed.
    """
    chain = layer.chain()
    for member in chain:
        member.require_writable("cannot restore")  # its pages are mapped from the files
    with shared((stack_of(member.directory) for member in chain), "cannot restore from"):
        yield
