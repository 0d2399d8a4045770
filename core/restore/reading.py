"""A layer that is being read for a restore must not lose pages meanwhile: a shared lock keeps dedup and other writers of its stack away."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lamina.core.errors import BusyError
from lamina.core.image.layer import Layer
from lamina.core.image.lock import holder_of, stack_of


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
    with ExitStack() as held:
        for stack in dict.fromkeys(stack_of(member.directory) for member in chain):
            fd = os.open(stack, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, fd)
            _share(fd, stack)
        yield


def _share(fd: int, stack: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            why = f"{holder_of(fd)} is writing there"
            raise BusyError("cannot restore from", f"stack {stack}", why, "wait for it to end") from error
        # A file system without locks has no writer's lock either.
