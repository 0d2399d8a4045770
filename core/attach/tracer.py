"""The one thread that owns ptrace.

A tracee answers only the thread that seized it (ptrace(2): others get ESRCH), and worker pools run work on any thread. So every function
that traces is handed to this one; callers wait for its result and get its exceptions.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")
NAME = "lamina-tracer"


class Tracer:
    """Runs functions one after the other on its own thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=NAME)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Run `function(*args)` on the tracer thread and return its result or raise its exception. Re-entrant from that thread."""
        if threading.current_thread().name.startswith(NAME):
            return function(*args)
        return self._pool.submit(function, *args).result()


@cache
def tracer() -> Tracer:
    """The process-wide tracer, started at its first use."""
    return Tracer()
