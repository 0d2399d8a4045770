"""Starts the leader of a terminal and hears what it reports, from a worker thread: its program runs in it, or why it does not."""

import json
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamina.core.errors import Cancelled, LaminaError, TargetError
from lamina.core.events import CancelToken, Event, Notice, Progress
from lamina.core.restore.request import RestoreRequest, RestoreResult
from lamina.tui.terminal.pty import Pty

Size = tuple[int, int]
_LOOK_S = 0.1


@dataclass(frozen=True)
class Held:
    """A program that runs in a terminal of ours.

    Attributes:
        pid: the program; name: what to call it.
        pty: its terminal; the leader of that is the program's parent.
        shown: what its terminal shows, as `Emulator.save` gave it; "" for a blank one, None to leave what is there.
    """

    pid: int
    name: str
    pty: Pty = field(compare=False)
    shown: str | None = ""


def start(command: Sequence[str], size: Size) -> Held:
    """Run *command* in a terminal of *size* (columns, lines).

    Raises:
        LaminaError: it cannot be run.
    """
    pty, report = _lead("lamina.tui.terminal.job", command, size, f"cannot run {command[0]}", lambda _event: None, CancelToken())
    if "failed" in report:
        pty.end()
        raise LaminaError(report["failed"])
    return Held(report["runs"], Path(command[0]).name, pty)


def put_back(
    request: RestoreRequest, name: str, shown: str, size: Size, listen: Callable[[Event], None], cancel: CancelToken,
    instead: Callable[[Held], None],
) -> tuple[Held, RestoreResult]:  # fmt: skip
    """Restore the layer of *request* into a new terminal of *size*, which showed *shown*.

    *instead* gets the program that runs now if the restore failed and what ran before was brought back.

    Raises:
        LaminaError: it failed, in the engine's words.
        Cancelled: as asked.
    """
    words = [str(request.images_dir)]
    words += ["--replace"] if request.replace else []
    words += ["--no-rescue"] if request.replace and not request.rescue else []
    what = f"cannot restore {request.images_dir}"
    pty, report = _lead("lamina.tui.terminal.put_back", words, size, what, listen, cancel)
    if "failed" in report:
        if report["runs"]:
            instead(Held(report["runs"], name, pty, None))
        else:
            pty.end()
        raise (Cancelled if report["cancelled"] else LaminaError)(report["failed"])
    rescue = report["rescue_dir"]
    result = RestoreResult(
        report["runs"], tuple(report["pids"]), report["pages"], report["elapsed_us"], Path(rescue) if rescue else None
    )  # fmt: skip
    return Held(result.pid, name, pty, shown), result


def _lead(
    module: str, words: Sequence[str], size: Size, what: str, listen: Callable[[Event], None], cancel: CancelToken
) -> tuple[Pty, dict[str, Any]]:
    hears, tells = os.pipe()
    try:
        # Not from the directory we are in, where a `lamina` of somebody else may lie.
        pty = Pty([sys.executable, "-P", "-m", module, *words], *size, reports=tells)
    except BaseException as error:
        os.close(hears)
        if isinstance(error, OSError):
            raise TargetError(what, why=os.strerror(error.errno or 0)) from error
        raise
    finally:
        os.close(tells)
    try:
        with os.fdopen(hears, "rb", buffering=0) as pipe:
            report = _hear(pipe.fileno(), pty, listen, cancel)
    except BaseException:
        pty.end()
        raise
    if report is None:
        said = bytearray()
        pty.drain()
        pty.take(said.extend)
        pty.end()
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise TargetError(what, why=" ".join(["the leader of its terminal ended", *last]))
    return pty, report


def _hear(pipe: int, pty: Pty, listen: Callable[[Event], None], cancel: CancelToken) -> dict[str, Any] | None:
    """The last report; None if the leader ended without one."""
    rest, asked = b"", False
    while True:
        if cancel.cancelled and not asked:
            asked = True
            with suppress(ProcessLookupError):
                os.kill(pty.pid, signal.SIGTERM)
        if not select.select([pipe], [], [], _LOOK_S)[0]:
            continue
        data = os.read(pipe, 1 << 16)
        if not data:
            return None
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            report: dict[str, Any] = json.loads(line)
            if "progress" in report:
                listen(Progress(**report["progress"]))
            elif "notice" in report:
                listen(Notice(report["notice"]))
            else:
                return report
