"""Page servers of the tests, lamina's: started as a user would, on a port that they choose, ended by pid."""

import os
import re
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.harness import PATIENCE_S, Ran, lamina_command
from tests.live.ready import Ready, Running


@dataclass
class Server:
    """A page server that listens."""

    process: "subprocess.Popen[str] | Running"
    args: tuple[str, ...]
    port: int

    @property
    def sending(self) -> list[object]:
        """The options of a dump that sends to it."""
        return ["--page-server", "--port", self.port]

    def end(self, ok: bool = True) -> Ran:
        """Wait until it ends by itself."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        ran = Ran(self.args, self.process.returncode or 0, out, err)
        if ok:
            assert ran.status == 0, ran.said
        return ran


def start_server(images_dir: Path, *options: object) -> Server:
    """Start `lamina page-server` for *images_dir* and wait until it listens."""
    reader, writer = os.pipe()
    args = ["page-server", "-D", images_dir, "--status-fd", writer, "--json", *options]
    process = subprocess.Popen(
        lamina_command(*args), pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    try:
        assert select.select([reader], [], [], PATIENCE_S)[0], "it does not listen"
        if os.read(reader, 1) != b"\0":
            out, err = process.communicate(timeout=PATIENCE_S)
            raise AssertionError(f"lamina page-server {images_dir}: {out}{err}")
    finally:
        os.close(reader)
    return _listening(process, tuple(str(arg) for arg in args))


def start_ready_server(ready: Ready, images_dir: Path, *options: object) -> Server:
    """The same, of a lamina that is loaded already."""
    process = ready.start("page-server", "-D", images_dir, "--json", *options)
    return _listening(process, process.args)


def _listening(process: "subprocess.Popen[str] | Running", args: tuple[str, ...]) -> Server:
    """Wait until it says where."""
    assert process.stderr is not None
    said = ""
    while line := process.stderr.readline():
        if found := re.search(r"listens at .*:(\d+)$", line.strip()):
            return Server(process, args, int(found[1]))
        said += line
    raise AssertionError(f"lamina {' '.join(args)}: {said}")


@contextmanager
def page_server(images_dir: Path, *options: object) -> Iterator[Server]:
    """As `start_server`, for a directory that is made; it is ended if the test has not waited for its end."""
    images_dir.mkdir(parents=True, exist_ok=True)
    server = start_server(images_dir, *options)
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.process.kill()
        server.process.communicate()


def copy_images(sent: Path, received: Path) -> None:
    """What the user does: the sender's images beside the pages."""
    subprocess.run(["cp", "-a", f"{sent}/.", received], check=True)


def resize(tmpfs: Path, size: int) -> None:
    """Let a tmpfs hold *size* bytes, of everything in it."""
    subprocess.run(["mount", "-o", f"remount,size={size}", tmpfs], check=True)


def used_of(tmpfs: Path) -> int:
    """Bytes that everything in it takes."""
    info = os.statvfs(tmpfs)
    return (info.f_blocks - info.f_bfree) * info.f_frsize


def as_json(ran: Ran) -> Any:
    """The one object of a page server."""
    return ran.json
