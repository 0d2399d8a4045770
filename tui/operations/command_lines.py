"""The command line that does the same as an operation on the screen, from the very request the engine gets."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.dump.request import DumpRequest
from lamina.core.dump.rhythm import Rhythm
from lamina.core.restore.request import RestoreRequest

if TYPE_CHECKING:
    from lamina.tui.model.compared import Compared


def _line(*words: str | Path | int | None) -> str:
    return shlex.join(["lamina", *(str(word) for word in words if word is not None)])


def dump_line(request: DumpRequest) -> str:
    """`lamina dump -t 4711 -D shots/2 -R --track-mem --prev-images-dir ../1`."""
    return _line(
        "dump", "-t", request.pid, "-D", request.images_dir,
        "-R" if request.leave_running else None,
        "--track-mem" if request.track_mem else None,
        *(("--prev-images-dir", request.prev_images_dir) if request.prev_images_dir else ()),
        "-j" if request.shell_job else None,
    )  # fmt: skip


def send_line(request: DumpRequest, host: str, port: int, wire: int) -> str:
    """`lamina dump -t 4711 -D shots/2 -R --track-mem --prev-images-dir ../1 --page-server --address 10.0.0.2 --port 9999`."""
    to = _line("--page-server", "--address", host, "--port", port, *(("--wire", wire) if wire != 32 else ()))
    return f"{dump_line(request)} {to.removeprefix('lamina ')}"


def receive_line(layer: Path, on: str | None, host: str, port: int, auto_dedup: bool) -> str:
    """`lamina page-server -D shots/2 --address 10.0.0.2 --port 9999 --prev-images-dir ../1 --auto-dedup`."""
    return _line(
        "page-server", "-D", layer, "--address", host, "--port", port,
        *(("--prev-images-dir", on) if on else ()),
        "--auto-dedup" if auto_dedup else None,
    )  # fmt: skip


def restore_line(request: RestoreRequest) -> str:
    """`lamina restore -D shots/2 -d --replace`."""
    return _line(
        "restore", "-D", request.images_dir,
        "-d" if request.detach else None,
        "--replace" if request.replace else None,
        "--no-rescue" if request.replace and not request.rescue else None,
        "-j" if request.shell_job else None,
    )  # fmt: skip


def run_line(command: Sequence[str]) -> str:
    """`lamina run -- python3 -q`."""
    return _line("run", "--", *command)


def track_line(pid: int) -> str:
    """`lamina track -t 4711`."""
    return _line("track", "-t", pid)


def untrack_line(pid: int) -> str:
    """`lamina untrack -t 4711`."""
    return _line("untrack", "-t", pid)


def dedup_line(layer: Path, dry_run: bool = False) -> str:
    """`lamina dedup -D shots/3`."""
    return _line("dedup", "-D", layer, "--dry-run" if dry_run else None)


def diff_line(what: "Compared") -> str:
    """`lamina diff shots/1 shots/3`, or `lamina diff shots/3 --live 4711`."""
    return _line("diff", what.a, what.b) if what.b is not None else _line("diff", what.a, "--live", what.pid)


def every_line(pid: int, stack: Path, rhythm: Rhythm) -> str:
    """`lamina every 30s -t 4711 -D shots --dirtied 64M --keep-last 20`."""
    return _line(
        "every", f"{rhythm.every_s:.0f}s" if rhythm.every_s is not None else None, "-t", pid, "-D", stack,
        *(("--dirtied", _size(rhythm.dirtied)) if rhythm.dirtied is not None else ()),
        *(("--keep-last", rhythm.keep_last) if rhythm.keep_last is not None else ()),
    )  # fmt: skip


def _size(count: int) -> str:
    unit = next((unit for unit in ("G", "M", "K") if count % (1 << {"G": 30, "M": 20, "K": 10}[unit]) == 0), "")
    return f"{count >> {'G': 30, 'M': 20, 'K': 10, '': 0}[unit]}{unit}"


def thin_line(layers: Sequence[Path]) -> str:
    """`lamina drop shots/1 && lamina trash shots --empty 1`."""
    return " && ".join([_line("drop", *layers), *(_line("trash", layer.parent, "--empty", layer.name) for layer in layers)])


def core_line(layer: Path, pid: int, output: Path) -> str:
    """`lamina core shots/3 4711 --output shots/core.3.4711`."""
    return _line("core", layer, pid, "--output", output)
