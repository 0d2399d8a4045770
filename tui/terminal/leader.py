"""Starts the leader of a terminal, as the child of a holder, and waits for its report: that the program runs there, or why not. Called in
worker threads.
"""

import os
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamina.core.errors import Cancelled, LaminaError, TargetError
from lamina.core.events import CancelToken, Event, Notice, Progress
from lamina.core.restore.request import RestoreRequest, RestoreResult
from lamina.tui.terminal.attachment import Attachment, Size, begin
from lamina.tui.terminal.holders import terminals_dir

_WAIT_S = 0.1


@dataclass(frozen=True)
class Held:
    """A program that runs in a terminal of ours.

    Attributes:
        pid: the program; name: what to call it.
        line: the connection to the holder of its terminal, whose leader is the program's parent.
        leaves_screen: the screen that is shown stays, whatever the holder has kept.
    """

    pid: int
    name: str
    line: Attachment = field(compare=False)
    leaves_screen: bool = False


def start(command: Sequence[str], size: Size) -> Held:
    """Run *command* in a terminal of *size* (columns, lines).

    Raises:
        LaminaError: it cannot be run.
    """
    name = Path(command[0]).name
    line, report = _lead("lamina.tui.terminal.job", command, name, size, "", f"cannot run {command[0]}", lambda _event: None, CancelToken())
    if "failed" in report:
        line.end()
        raise LaminaError(report["failed"])
    return Held(report["runs"], name, line)


def put_back(
    request: RestoreRequest, name: str, shown: str, size: Size, listen: Callable[[Event], None], cancel: CancelToken,
    instead: Callable[[Held], None],
) -> tuple[Held, RestoreResult]:  # fmt: skip
    """Restore the layer of *request* into a new terminal of *size*, which shows *shown* at first.

    *instead* is called with the program that runs now if the restore failed and the program from before was brought back.

    Raises:
        LaminaError: it failed, in the engine's words.
        Cancelled: as asked.
    """
    words = [str(request.images_dir)]
    words += ["--replace"] if request.replace else []
    words += ["--no-rescue"] if request.replace and not request.rescue else []
    what = f"cannot restore {request.images_dir}"
    line, report = _lead("lamina.tui.terminal.put_back", words, name, size, shown, what, listen, cancel)
    if "failed" in report:
        if report["runs"]:
            instead(Held(report["runs"], name, line, leaves_screen=True))
        else:
            line.end()
        raise (Cancelled if report["cancelled"] else LaminaError)(report["failed"])
    rescue = report["rescue_dir"]
    result = RestoreResult(
        report["runs"], tuple(report["pids"]), report["pages"], report["elapsed_us"], Path(rescue) if rescue else None
    )  # fmt: skip
    return Held(result.pid, name, line), result


def _lead(
    module: str, words: Sequence[str], name: str, size: Size, shown: str, what: str, listen: Callable[[Event], None], cancel: CancelToken
) -> tuple[Attachment, dict[str, Any]]:
    try:
        # Not from the current directory, where there may be another `lamina`.
        line = begin(terminals_dir(), [sys.executable, "-P", "-m", module, *words], name, size, shown)
    except OSError as error:
        raise TargetError(what, why=os.strerror(error.errno or 0)) from error
    try:
        return line, _hear(line, listen, cancel)
    except TargetError as error:
        last = line.said().strip().splitlines()[-1:]
        line.end()
        raise TargetError(what, why=" ".join([error.why, *last])) from error
    except BaseException:
        line.end()
        raise


def _hear(line: Attachment, listen: Callable[[Event], None], cancel: CancelToken) -> dict[str, Any]:
    """The last report.

    Raises:
        TargetError: the leader has ended without one.
    """
    asked = False
    while True:
        if cancel.cancelled and not asked:
            asked = True
            line.cancel()
        report = line.hear()
        if report is None:
            select.select([line], [], [], _WAIT_S)
        elif "progress" in report:
            listen(Progress(**report["progress"]))
        elif "notice" in report:
            listen(Notice(report["notice"]))
        else:
            return report
