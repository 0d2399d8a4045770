"""Nothing is read that is not the set: an audit hook looks at every file that Python code opens, and at what it would create or remove."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Each takes a path first; those that change something are never right where only reading was asked for.
_CHANGES = {"os.remove", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"}
_STARTS = {"os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.system", "subprocess.Popen", "socket.connect", "socket.bind"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Modules are imported when they are first needed, also inside a case; sets to be fuzzed are never unpacked there.
_PROGRAM = tuple(os.path.realpath(path) + "/" for path in {sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])})


class Watch:
    """The hook; it cannot be removed, only disarmed.

    Attributes:
        violations: what was opened or done that must not be, in words.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._inside: tuple[str, ...] = ()
        self._scratch = ""
        self._named: frozenset[str] = frozenset()
        self._armed = False
        sys.addaudithook(self._hook)

    @contextmanager
    def armed(self, inside: Path, scratch: Path, named: frozenset[str]) -> Iterator[None]:
        """Only what lies in *inside* may be read meanwhile, and the files *named*; only in *scratch* may be written."""
        self._inside = (os.path.realpath(inside),)
        self._scratch = os.path.realpath(scratch)
        self._named = named
        self.violations.clear()
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        if not self._armed:
            return
        if event == "open":
            path, _, flags = args
            if isinstance(path, (str, bytes)) and isinstance(flags, int):
                self._look(os.fsdecode(path), flags)
        elif event in ("os.listdir", "os.scandir"):
            if isinstance(args[0], (str, bytes)):
                self._look(os.fsdecode(args[0]), os.O_RDONLY)
        elif event in _CHANGES:
            # An open file was looked at when it was opened.
            if isinstance(args[0], (str, bytes, os.PathLike)) and not self._is_scratch(os.fsdecode(args[0])):
                self._object(f"{event} {os.fsdecode(args[0])}")
        elif event in _STARTS:
            self._object(f"{event} {args!r:.200}")

    def _look(self, path: str, flags: int) -> None:
        real = os.path.realpath(path)
        if flags & os.O_NOFOLLOW:  # a link in the last place is refused by the kernel
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if self._is_scratch(path):
            return
        if flags & _WRITES:
            self._object(f"open for writing {path}")
        elif not (self._is_inside(real) or real.startswith(_PROGRAM) or path in self._named):
            self._object(f"open {path} ({real})")

    def _is_inside(self, real: str) -> bool:
        return any(real == place or real.startswith(place + "/") for place in self._inside)

    def _is_scratch(self, path: str) -> bool:
        return os.path.realpath(os.path.dirname(path)) == self._scratch

    def _object(self, what: str) -> None:
        self.violations.append(what)
