"""lamina, loaded once: a command is a fork of it, and at work at once. For tests that need hundreds, each killable by its pid.

What is asked for goes over a socket, with the descriptors of the streams. The fork is orphaned: the test, being a subreaper, is its parent.
"""

import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TextIO

import lamina.core
from lamina.tui.__main__ import main
from tests.live.harness import PATIENCE_S, Ran


class Running:
    """A command that runs: what a subprocess.Popen with pipes is to its user."""

    def __init__(self, pid: int, args: tuple[str, ...], out: TextIO, err: TextIO) -> None:
        self.pid, self.args = pid, args
        self.stdout, self.stderr = out, err
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """Its exit status. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                if not select.select([pidfd], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout)
            finally:
                os.close(pidfd)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def communicate(self, timeout: float = PATIENCE_S) -> tuple[str, str]:
        """Wait, then all that it said."""
        self.wait(timeout)
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()

    def send_signal(self, number: int) -> None:
        """Unless it was waited for."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As of a Popen."""
        self.send_signal(signal.SIGKILL)


class Ready:
    """Starts commands."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def start(self, *args: object) -> Running:
        """`lamina` with *args*; stdin is empty."""
        words = tuple(str(arg) for arg in args)
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        socket.send_fds(self._sock, [json.dumps(words).encode()], [its_out, its_err])
        for fd in (its_out, its_err):
            os.close(fd)
        return Running(int(self._sock.recv(64)), words, os.fdopen(out), os.fdopen(err))

    def run(self, *args: object, ok: bool = True) -> Ran:
        """As `lamina.tests.live.harness.lamina`."""
        running = self.start(*args)
        out, err = running.communicate()
        ran = Ran(running.args, running.returncode or 0, out, err)
        if ok:
            assert ran.status == 0, ran.said
        return ran


@contextmanager
def ready() -> Iterator[Ready]:
    """Load it; it ends with the test."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen([sys.executable, "-m", "tests.live.ready", str(its.fileno())], pass_fds=[its.fileno()]) as loaded:
        its.close()
        with ours:
            assert ours.recv(64) == b"ready"
            yield Ready(ours)
        loaded.wait(PATIENCE_S)


def serve(sock: socket.socket) -> None:
    """In the loaded process: fork for each that is asked for, until nobody can ask any more."""
    for module in pkgutil.walk_packages(lamina.core.__path__, "lamina.core."):
        with suppress(ImportError):
            import_module(module.name)
    sock.sendall(b"ready")
    while True:
        asked, streams, _, _ = socket.recv_fds(sock, 1 << 16, 2)
        if not asked:
            return
        reader, writer = os.pipe()
        between = os.fork()
        if not between:
            if pid := os.fork():
                os.write(writer, str(pid).encode())
                os._exit(0)
            become(json.loads(asked), streams, (reader, writer, sock.fileno()))
        os.waitpid(between, 0)
        sock.sendall(os.read(reader, 64))
        for fd in (reader, writer, *streams):
            os.close(fd)


def become(words: list[str], streams: list[int], others: tuple[int, ...]) -> None:
    """In the fork: be `lamina` with *words*, and end."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
    for fd in (*streams, *others):
        os.close(fd)
    status = 1
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        for told in (sys.stdout, sys.stderr):
            told.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
