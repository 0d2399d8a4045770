"""A process that dies at the n-th change it makes to the file system: every state between two steps is one that a kill can leave."""

import os
import traceback
from collections.abc import Callable
from typing import Any

from lamina.core import ffi
from lamina.core.image import holes, renames

_CHANGES = (
    "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "pwrite", "ftruncate", "copy_file_range", "fsync",
    "chmod", "fchmod", "chown", "fchown",
)  # fmt: skip
_NATIVE = {renames: ("lm_rename_exchange", "lm_rename_new"), holes: ("lm_punch_ranges",)}
_DIED = 77


class _Counted:
    """The C functions, those that change files counted."""

    def __init__(self, step: Callable[[], None], names: tuple[str, ...]) -> None:
        self._step = step
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(ffi.C, name)
        if name not in self._names:
            return found
        return lambda *args: (self._step(), found(*args))[1]


def dies_at(act: Callable[[], object], change: int) -> bool:
    """Do *act* in a child that ends before its change number *change* (from 1), as SIGKILL would end it. False if it made fewer.

    Fails if *act* raises.
    """
    pid = os.fork()
    if not pid:
        status = 1
        try:
            _count(change)
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {0, _DIED}, f"it failed (status {status}) before change {change}"
    return status == _DIED


def _count(change: int) -> None:
    made = 0

    def step() -> None:
        nonlocal made
        made += 1
        if made == change:
            os._exit(_DIED)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            step()
            return function(*args, **options)

        return call

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    plain_open = os.open

    def open_counted(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            step()
        return plain_open(path, flags, *args, **options)

    os.open = open_counted
    for module, names in _NATIVE.items():
        setattr(module, "C", _Counted(step, names))  # noqa: B010  # mypy: the modules do not declare it as theirs
