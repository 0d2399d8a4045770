"""Limits on lamina itself (setrlimit(2)): too little to work with is said before anything is begun, and what ran out is named."""

import errno
import os
import resource

from lamina.core.errors import LaminaError

# A dump of a small tree holds about 20 open files; a restore says itself what it needs.
_FILES = 64
# What Python, numpy, protobuf and the tracer's thread map, with room for work; below that libraries end the process in words of their own.
_ADDRESS_SPACE = 256 << 20
# Of that, what they may write.
_DATA = 96 << 20
# What bounds memory: limit, what it counts, the shell's option.
_MEMORY = ((resource.RLIMIT_AS, "address space", "-v", _ADDRESS_SPACE), (resource.RLIMIT_DATA, "data", "-d", _DATA))


def check_own() -> None:
    """Raise the soft limit on open files if it is too low to work with.

    Raises:
        LaminaError: the hard one is, or one on memory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _FILES:
        if 0 <= hard < _FILES:
            fix = f"raise the hard limit: ulimit -Hn {_FILES}"
            raise LaminaError("cannot work", f"with {hard} open files", f"{_FILES} are needed", fix)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, hard))
    for which, what, option, needed in _MEMORY:
        space = resource.getrlimit(which)[0]
        if 0 <= space < needed:
            fix = f"raise the limit: ulimit {option} unlimited"
            raise LaminaError("cannot work", f"in {space >> 20} MiB of {what}", f"{needed >> 20} MiB are needed", fix)


def one_thread() -> None:
    """Keep a library that numpy brings from starting a thread with 32 MiB for every processor: lamina multiplies no matrices."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def ran_out(error: BaseException) -> LaminaError | None:
    """What ran out, if that is what *error* says; None if it says something else."""
    number = error.errno if isinstance(error, OSError) else 0
    if number == errno.EMFILE:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return LaminaError("cannot open another file", why=f"{soft} are open, the limit", fix="raise it: ulimit -n")
    if number == errno.ENFILE:
        return LaminaError("cannot open another file", why="the system has no more", fix="sysctl fs.file-max")
    if number == errno.EFBIG:
        return LaminaError("cannot write", why="a file would be larger than the limit", fix="raise it: ulimit -f unlimited")
    thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    library = isinstance(error, ImportError) and "failed to map segment" in str(error)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or thread or library:
        for which, what, option, _ in _MEMORY:
            space = resource.getrlimit(which)[0]
            if space >= 0:
                why = f"{space >> 20} MiB of {what} are allowed"
                return LaminaError("out of memory", why=why, fix=f"raise the limit: ulimit {option} unlimited")
        return LaminaError("out of memory", why=f"the system has no more for {'a thread of ' * thread}lamina")
    return None
