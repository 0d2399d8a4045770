"""The one thread that owns ptrace.

A tracee answers only the thread that seized it (ptrace(2): others get ESRCH), and worker pools run work on any thread. So every function
that traces is handed to this one; callers wait for its result and get its exceptions.

A thread that hangs in uninterruptible sleep can be asked to stop, but not be let go again before it has: it would stop whenever it comes
out of that sleep, and stand until somebody let it go. The kernel does so when the thread that traces it ends (kernel/ptrace.c,
exit_ptrace). So a tracer that leaves such a thread behind ends, and another takes its place.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

from lamina.core.ffi import C

T = TypeVar("T")
NAME = "lamina-tracer"
# How long an ending thread is given to be gone from the kernel's view, too.
_GONE_S = 1.0


class Tracer:
    """Runs functions one after the other on its own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = _one_thread()

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Run `function(*args)` on the tracer thread and return its result or raise its exception. Re-entrant from that thread."""
        if threading.current_thread().name.startswith(NAME):
            return function(*args)
        with self._lock:
            result = self._pool.submit(self._run, function, *args)
        return result.result()

    def _run(self, function: Callable[..., T], *args: object) -> T:
        try:
            return function(*args)
        finally:
            if C.lm_late_threads():
                self._replace()

    def _replace(self) -> None:
        """On the tracer thread: it ends as soon as it has nothing more to do; the next call waits for that, and gets a new one."""
        with self._lock:
            ending, self._pool = self._pool, _one_thread()
            self._pool.submit(_wait_until_gone, threading.get_native_id())
            ending.shutdown(wait=False)


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=NAME)


def _wait_until_gone(tid: int) -> None:
    deadline = time.monotonic() + _GONE_S
    while Path(f"/proc/self/task/{tid}").exists() and time.monotonic() < deadline:
        time.sleep(0.001)


@cache
def tracer() -> Tracer:
    """The process-wide tracer, started at its first use."""
    return Tracer()
