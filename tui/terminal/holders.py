"""Finds the terminals that are held, by their files, whoever started them, and attaches to them. Called in worker threads."""

import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.core.attach.identity import boot_id, pid_namespace
from lamina.core.dirty.state_dir import read_small, state_dir
from lamina.core.errors import LaminaError, TargetError
from lamina.tui.terminal.attachment import Attachment

# How many last screens are kept of programs that ended while no lamina was attached.
_REMEMBERED = 20
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class HeldTerminal:
    """One terminal.

    Attributes:
        key: the name of its files.
        holder: the process that holds it.
        pid, name: the program; pid is 0 while it is being started.
        since: when it began, seconds since 1970.
        lamina: the lamina that shows it; 0 for none.
        ended: its exit status, 128 + n for signal n; None while it runs.
        failed: why no program runs there, in words.
        tty: the program's end, as in "/dev/pts/3".
    """

    key: str
    holder: int
    pid: int
    name: str
    since: float
    lamina: int
    ended: int | None
    failed: str
    tty: str

    @property
    def is_around_us(self) -> bool:
        """Whether we run in it ourselves, so that it cannot be shown here."""
        for fd in (0, 1, 2):
            with suppress(OSError):
                if os.ttyname(fd) == self.tty:
                    return True
        return False

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} {self.pid}" if self.pid else self.name

    @property
    def state(self) -> str:
        """Its state, in words."""
        if self.failed and not self.pid:
            return self.failed
        if self.ended is not None:
            return f"ended with exit status {self.ended}" if self.ended <= 128 else f"ended by signal {self.ended - 128}"
        return f"shown by lamina {self.lamina}" if self.lamina else "runs, and no lamina shows it"


def terminals_dir() -> Path:
    """Where holders have their files, made if missing.

    Raises:
        TargetError: it cannot be made, or it belongs to somebody else.
    """
    directory = state_dir() / "terminals"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise TargetError("cannot hold terminals in", str(directory), os.strerror(error.errno or 0), "set LAMINA_STATE_DIR") from error
    if found.st_uid != os.geteuid() or not directory.is_dir() or directory.is_symlink():
        raise TargetError("cannot use", str(directory), "it is not ours", "set LAMINA_STATE_DIR")
    return directory


def held_terminals() -> list[HeldTerminal]:
    """Those of this boot and pid namespace, oldest first. Files of holders that were killed are removed, files of other users left alone.

    Raises:
        TargetError: their directory cannot be used.
    """
    directory, found = terminals_dir(), []
    ours = f"{boot_id()[:8]}-{pid_namespace()}-"
    for name in sorted({name.split(".")[0] for name in os.listdir(directory)}):
        if not name.startswith(ours) or name.count("-") != 3:
            continue
        pid, start = name.removeprefix(ours).split("-")
        if not (pid.isdecimal() and start.isdecimal()):
            continue
        if _lives(int(pid), int(start)):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found.append(_read(directory, name))
        else:
            for ending in ("sock", "json", "json.new"):
                (directory / f"{name}.{ending}").unlink(missing_ok=True)
    return sorted(found, key=lambda it: it.since)


def _lives(pid: int, start: int) -> bool:
    from lamina.core.attach.procfs import read_stat

    try:
        stat = read_stat(pid)
    except LaminaError:
        return False
    return stat.start_time == start and stat.state not in "ZX"


def _read(directory: Path, key: str) -> HeldTerminal:
    status: dict[str, Any] = json.loads(read_small(directory / f"{key}.json"))
    ended = status["ended"]
    return HeldTerminal(
        key, int(status["holder"]), int(status["pid"]), str(status["name"]), float(status["since"]), int(status["lamina"]),
        None if ended is None else int(ended), str(status["failed"]),
        str(status.get("tty", "")),
    )  # fmt: skip


def attach(held: HeldTerminal, take: bool = False, blocking: bool = False) -> Attachment:
    """Attach to *held*. *take*: take it over if another lamina shows it, which is told so; *blocking*: as of `Attachment`.

    Raises:
        TargetError: it is gone.
        ShownElsewhereError: another lamina shows it.
    """
    if held.is_around_us:
        raise TargetError("cannot show", held.label, "this lamina runs in that terminal")
    connection = _connect(held)
    with suppress(OSError):
        connection.send(b"A" + json.dumps({"take": take}).encode())
    return Attachment(connection, blocking)


def forget(held: HeldTerminal) -> None:
    """Remove what is kept of *held* if it has ended and is not shown; else do nothing."""
    with suppress(TargetError, OSError), _connect(held) as connection:
        connection.send(b"B")


def tidy(found: list[HeldTerminal]) -> None:
    """Forget those that have ended and that no lamina shows, except the newest `_REMEMBERED`."""
    for held in [held for held in found if held.ended is not None and not held.lamina][:-_REMEMBERED]:
        forget(held)


def _connect(held: HeldTerminal) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_PATIENCE_S)
    try:
        # A socket's path is short, a directory's may be long.
        directory = os.open(terminals_dir(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{held.key}.sock")
        finally:
            os.close(directory)
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid() or pid != held.holder:
            raise TargetError("cannot reach", f"the terminal of {held.label}", f"process {pid} of user {uid} answers in its place")
    except OSError as error:
        connection.close()
        raise TargetError("cannot reach", f"the terminal of {held.label}", os.strerror(error.errno or 0)) from error
    except TargetError:
        connection.close()
        raise
    return connection
