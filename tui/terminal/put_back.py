"""Leads the session of a pseudo terminal and puts a program back into it as its foreground job: `lamina restore -D LAYER -j`, with its
words sent to the screen instead of into the terminal, which is the program's. `python -m … LAYER [--replace] [--no-rescue]`.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

from lamina.tui.terminal.reports import Reports


def main() -> int:
    """Restore, then wait for the program; returns its exit status, 1 if it could not be put back."""
    from lamina.core.errors import Cancelled, LaminaError
    from lamina.core.events import CancelToken, Event, Progress
    from lamina.core.image.sessions import OURS
    from lamina.core.restore.request import RestoreRequest
    from lamina.core.restore.run import restore, wait_as_foreground_job

    _quiet()
    layer, *options = sys.argv[1:]
    request = RestoreRequest(Path(layer), shell_job=True, replace="--replace" in options, rescue="--no-rescue" not in options)
    reports, cancel = Reports(), CancelToken()
    signal.signal(signal.SIGTERM, lambda *_: cancel.cancel())

    def listen(event: Event) -> None:
        # That it is in our terminal is intended, and no notice.
        if isinstance(event, Progress) or not event.text.endswith(OURS):
            reports.listen(event)

    try:
        result = restore(request, listen, cancel)
    except LaminaError as error:
        # A restore that failed half way brings back the program from before, which is our job then.
        pid = _child()
        cancelled = isinstance(error, Cancelled)
        if pid:
            return wait_as_foreground_job(pid, partial(reports.failed, str(error), cancelled, pid))
        reports.failed(str(error), cancelled)
        return 1
    except Exception as error:
        reports.failed(f"internal error: {type(error).__name__}: {error}")
        return 1
    told = {"pids": result.pids, "pages": result.pages, "elapsed_us": result.elapsed_us, "rescue_dir": result.rescue_dir}
    return wait_as_foreground_job(result.pid, lambda: reports.runs(result.pid, **told))


def _quiet() -> None:
    """Print nothing: errors are reported, and the terminal is the program's."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _child() -> int:
    """The pid of a child; 0 if there is none. The kernel lists children by the thread that made them."""
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return int(children[0]) if children else 0


if __name__ == "__main__":
    sys.exit(main())
