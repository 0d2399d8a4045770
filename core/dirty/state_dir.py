"""Where state files lie, what ours are called, and how small files there are read and written: whatever else lies there is left alone.

The directory is shared by all laminas of a user, which may live in different pid namespaces (a container with the host's /run): a number
is a process only in its own. So the names of files carry the namespace, and files of another one are not even opened.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from lamina.core.attach.identity import Identity, boot_id, pid_namespace
from lamina.core.errors import TargetError

# More than any file of ours has; a stray one may be of any size.
_MOST = 1 << 20
# BOOT-NAMESPACE-PID-START, then what it is: .json, .lock, or .WRITER.tmp.
_NAME = re.compile(r"([0-9a-f]{8})-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20})(?:\.([0-9]{1,20}))?\.(json|lock|tmp)", re.ASCII)


@dataclass(frozen=True)
class Named:
    """What the name of a file says.

    Attributes:
        path: where it is.
        kind: "json", "lock" or "tmp".
        earlier_boot: it is left from an earlier start of the machine.
        identity: the process it is about.
        writer: the lamina that was writing it, for "tmp"; else 0.
    """

    path: Path
    kind: str
    earlier_boot: bool
    identity: Identity
    writer: int


def state_dir() -> Path:
    """The directory of the state files, made if missing: /run/lamina for root, else a folder of the user's own runtime directory.

    LAMINA_STATE_DIR overrides it (for tests, and for containers without a /run).

    Raises:
        TargetError: it cannot be made, or it belongs to somebody else.
    """
    named = os.environ.get("LAMINA_STATE_DIR")
    if named:
        directory = Path(named)
    elif os.geteuid() == 0:
        directory = Path("/run/lamina")
    else:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        directory = Path(runtime) / "lamina" if runtime else Path(f"/run/user/{os.geteuid()}/lamina")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise cannot_remember(directory, error) from error
    if found.st_uid != os.geteuid():
        raise TargetError("cannot use", str(directory), f"it belongs to user {found.st_uid}", "set LAMINA_STATE_DIR")
    return directory


def cannot_remember(path: Path, error: OSError) -> TargetError:
    """The error for a state directory (or a file in it) that cannot be written: full, read-only, or with something else in its place."""
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(path)
    fix = "raise the limit on file size: ulimit -f" if error.errno == errno.EFBIG else "make it writable, or set LAMINA_STATE_DIR"
    return TargetError("cannot remember tracked processes in", place, os.strerror(error.errno or 0), fix)


def named_files() -> Iterator[Named]:
    """Every file that is ours by its name: of this pid namespace, or of an earlier boot, in no order. Others are none of our business.

    Raises:
        TargetError: the directory cannot be used.
    """
    directory = state_dir()
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise TargetError("cannot read", str(directory), os.strerror(error.errno or 0), "set LAMINA_STATE_DIR") from error
    for name in names:
        if words := _NAME.fullmatch(name):
            boot, namespace, pid, start, writer, kind = words.groups()
            earlier = boot != boot_id()[:8]
            if (earlier or int(namespace) == pid_namespace()) and (writer is not None) == (kind == "tmp"):
                yield Named(directory / name, kind, earlier, Identity(int(pid), int(start), boot_id()), int(writer or 0))


def read_small(path: Path) -> bytes:
    """The contents of a small regular file. Nothing else is opened for real: a fifo would wait, a device would act.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no file of ours.
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not S_ISREG(found.st_mode) or found.st_size > _MOST:
            raise ValueError("not a regular file" if not S_ISREG(found.st_mode) else "too large")
        return file.readall()


def write_whole(path: Path, raw: bytes) -> None:
    """Put a file of *raw* in place of what is at *path*, atomically and durably.

    Raises:
        TargetError: it cannot be written; what was there is there.
    """
    draft = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    try:
        # Made anew, whatever lies there.
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb", buffering=0) as file:
            left = memoryview(raw)
            while left:
                left = left[file.write(left) :]
            os.fsync(fd)
        draft.rename(path)
        sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise cannot_remember(path, error) from error


def sync(directory: Path) -> None:
    """Names in *directory* are durable after this."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
