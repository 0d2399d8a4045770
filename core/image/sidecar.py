"""The sidecar, lamina.json: what CRIU's images do not record, and what was done to the layer later (docs/image-format.md).

CRIU ignores it. A layer that CRIU wrote has none until lamina first changes it.
"""

import json
import os
import time as clock
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError
from lamina.core.image import lock
from lamina.core.image.format import read_file
from lamina.core.image.renames import sync_directory
from lamina.core.image.sums import ALGORITHM, BLOCK, FileSum
from lamina.core.image.supplement import Supplement

NAME = "lamina.json"
NEW_NAME = ".lamina.json.new"
# What the terminal of the program showed, if it was one of the screen's own (docs/terminal.md).
TERMINAL_NAME = "lamina-terminal.json"
# What a page server wrote of the pages it received, beside a lamina.json that may be the sender's (docs/page-server.md).
RECEIVED_NAME = "lamina-received.json"
VERSION = 1
MAX_SIZE = 1 << 26
# Seconds since 1970 up to the year 9999, in every time zone: what a calendar can show.
TIMES = 253_402_214_400.0
# Counts, times in µs and pids; what is larger nobody could calculate with.
_NUMBERS = 1 << 63


def new_layer_id() -> str:
    """An id that no other layer has: a random UUID as 32 hex digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Sidecar:
    """What lamina remembers of a layer.

    Attributes:
        layer_id: its id, for ever; state files and children refer to it.
        parent_id: the id of the layer it was dumped on; None for a full one.
        label: a name for people, or "".
        time: seconds since 1970 (UTC) at the freeze.
        host, kernel: where it was made (uname).
        page_size: bytes.
        cpu_features: the machine's, as /proc/cpuinfo names them.
        cmdline: of the root task.
        pid, start_time, boot: the identity of the root task (clock ticks since boot, boot id).
        tracker: what told the changed pages, as in "uffd-wp async", or "none".
        tracked: tracking was left on after it, so a child may inherit.
        freeze_us: how long the target stood still; dump_us: the whole dump.
        live_rounds: rounds of copying before the freeze.
        memory_only: a pre-dump.
        made_by: "lamina", "criu" for a layer that lamina only annotated, or "page-server" for one whose pages were received.
        pages_at: the page server that its pages were sent to, or ""; they are there unless they were copied here since.
        restorable: False once something it needs was punched, or if it never was; why_not says why.
        checksums: file name → what it held when it was written. Punched ranges count as zeros.
        punched: pages file → ranges (of file offsets) that dedup freed, recorded before they are.
        punched_by: names of the layers whose dedup did it.
        restarts: thread id → code of the kernel (512 to 514) of the call that the thread was in and makes again; images do not hold it.
        supplement: kernel state that images have no field for, to be set again (docs/inventory.md).
        pinned: it may not be dropped, pruned or squashed away; pin_reason says why, or is "".
        squashed: ids of the layers that were squashed into it.
        dropped: when it went to the trash, seconds since 1970 (UTC); dropped_name: the name it had. Mean nothing outside the trash.
        other: fields a newer lamina wrote; kept as they are.
    """

    layer_id: str
    parent_id: str | None = None
    label: str = ""
    time: float = 0.0
    host: str = ""
    kernel: str = ""
    page_size: int = PAGE
    cpu_features: tuple[str, ...] = ()
    cmdline: tuple[str, ...] = ()
    pid: int = 0
    start_time: int = 0
    boot: str = ""
    tracker: str = "none"
    tracked: bool = False
    freeze_us: int = 0
    dump_us: int = 0
    live_rounds: int = 0
    memory_only: bool = False
    made_by: str = "lamina"
    pages_at: str = ""
    restorable: bool = True
    why_not: str = ""
    checksums: Mapping[str, FileSum] = field(default_factory=dict)
    punched: Mapping[str, PageRuns] = field(default_factory=dict)
    punched_by: tuple[str, ...] = ()
    restarts: Mapping[int, int] = field(default_factory=dict)
    supplement: Supplement = field(default_factory=Supplement)
    pinned: bool = False
    pin_reason: str = ""
    squashed: tuple[str, ...] = ()
    dropped: float = 0.0
    dropped_name: str = ""
    other: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def for_foreign(cls, directory: Path) -> "Sidecar":
        """A first sidecar for a layer that another program wrote; its time is that of its inventory."""
        try:
            written = (directory / "inventory.img").stat().st_mtime
        except OSError:
            written = clock.time()
        written = shown_time(written)
        return cls(layer_id=new_layer_id(), time=written, made_by="criu")

    def with_punched(self, pages_file: str, ranges: PageRuns, by: str) -> "Sidecar":
        """The same with *ranges* (of file offsets) of *pages_file* added to what is punched."""
        before = self.punched.get(pages_file, PageRuns.empty())
        names = self.punched_by if by in self.punched_by else (*self.punched_by, by)
        return replace(self, punched={**self.punched, pages_file: before | ranges}, punched_by=names)

    def not_restorable(self, why: str) -> "Sidecar":
        """The same, marked not restorable; the first reason given stays."""
        return self if not self.restorable else replace(self, restorable=False, why_not=why)

    def with_received(self, pages: "Sidecar") -> "Sidecar":
        """The same with the page server's entries for the pages, which it alone knows."""
        punched = {
            name: self.punched.get(name, PageRuns.empty()) | pages.punched.get(name, PageRuns.empty())
            for name in {**self.punched, **pages.punched}
        }
        names = dict.fromkeys((*self.punched_by, *pages.punched_by))
        return replace(self, checksums={**self.checksums, **pages.checksums}, punched=punched, punched_by=tuple(names))

    def of_pages(self) -> "Sidecar":
        """What `with_received` needs of it."""
        sums = {name: it for name, it in self.checksums.items() if name.startswith(("pages-", "pagemap-"))}
        return Sidecar(
            layer_id=self.layer_id, time=self.time, host=self.host, kernel=self.kernel, tracker=self.tracker, made_by="page-server",
            checksums=sums, punched=self.punched, punched_by=self.punched_by,
        )  # fmt: skip

    # -- to and from JSON ------------------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The text of lamina.json."""
        record: dict[str, Any] = {**self.other, "version": VERSION}
        record |= {name: getattr(self, name) for name in _PLAIN}
        record["restarts"] = {str(tid): code for tid, code in sorted(self.restarts.items())}
        record["supplement"] = self.supplement.record
        record["checksum"] = {"algorithm": ALGORITHM, "block": BLOCK}
        record["checksums"] = {
            name: {"size": it.size, "blocks": "".join(f"{block:016x}" for block in it.blocks)}
            for name, it in sorted(self.checksums.items())
        }
        # In pages, start and length in turn: a tenth of the text of named fields.
        punched = {
            name: np.stack((runs.starts // PAGE, runs.sizes // PAGE), axis=1).ravel().tolist()
            for name, runs in sorted(self.punched.items())
        }
        # On one line: there can be millions of numbers, and a line each would double the file.
        text = json.dumps(record, indent=1, ensure_ascii=True).removesuffix("\n}")
        return f'{text},\n "punched": {json.dumps(punched, separators=(",", ":"))}\n}}\n'

    @classmethod
    def from_json(cls, text: bytes | str, name: str = NAME) -> "Sidecar":
        """From the text of a lamina.json; *name* is for messages.

        Raises:
            ImageError: not JSON, or a field is not what it should be.
        """
        try:
            record = json.loads(text)
            if not isinstance(record, dict) or not isinstance(record.get("layer_id"), str):
                raise ValueError("it has no layer_id")
            if record.get("version") != VERSION:
                raise ValueError(f"its version is {record.get('version')!r}; this lamina reads {VERSION}")
            plain = {key: _as(kind, key, record[key]) for key, kind in _PLAIN.items() if key in record}
            sums = _sums(record)
            restarts = {int(tid): int(code) for tid, code in record.get("restarts", {}).items()}
            supplement = Supplement.from_record(record.get("supplement", {}))
            punched = {str(key): _ranges(key, value) for key, value in record.get("punched", {}).items()}
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise ImageError("damaged sidecar", name, str(error) or type(error).__name__) from error
        known = {*_PLAIN, "version", "checksum", "checksums", "punched", "restarts", "supplement"}
        other = {key: value for key, value in record.items() if key not in known}
        return cls(**plain, checksums=sums, punched=punched, restarts=restarts, supplement=supplement, other=other)

    @classmethod
    def load(cls, directory: Path) -> "Sidecar | None":
        """The sidecar of the layer in *directory*, or None if it has none.

        Raises:
            ImageError: there is one and it cannot be read.
        """
        path = directory / NAME
        if not os.path.lexists(path):
            return None
        sidecar = cls.from_json(read_file(path, MAX_SIZE), str(path))
        received = directory / RECEIVED_NAME
        if os.path.lexists(received):
            sidecar = sidecar.with_received(cls.from_json(read_file(received, MAX_SIZE), str(received)))
        return sidecar

    def store(self, directory: Path) -> None:
        """Write it into the layer in *directory*: whole or not at all, on the disk when this returns.

        Raises:
            ImageError: it could not be written, or nobody could read it again; the old one is still there.
        """
        if os.path.lexists(directory / RECEIVED_NAME):  # first: a lamina.json that is copied over this one does not take it away
            self.store_received(directory)
        self._store(directory, NAME)

    def store_received(self, directory: Path) -> None:
        """As `store`, of what concerns the pages alone: a lamina.json that was copied beside them meanwhile stays. Raises as `store`."""
        self.of_pages()._store(directory, RECEIVED_NAME)

    def _store(self, directory: Path, name: str) -> None:
        path, new = directory / name, directory / NEW_NAME
        text = self.to_json().encode("ascii")
        if len(text) > MAX_SIZE:
            raise ImageError("cannot write", str(path), f"it would have {len(text)} bytes, more than the {MAX_SIZE} it can have")
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                if not lock.take(fd):
                    raise ImageError("cannot write", str(path), f"{lock.holder_of(fd)} is writing it")
                os.ftruncate(fd, 0)
                file.write(text)
                file.flush()
                os.fsync(fd)
            new.replace(path)
            sync_directory(directory)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise ImageError("cannot write", str(path), os.strerror(error.errno or 0)) from error


_PLAIN: dict[str, type] = {
    "layer_id": str, "parent_id": str, "label": str, "time": float, "host": str, "kernel": str, "page_size": int,
    "cpu_features": tuple, "cmdline": tuple, "pid": int, "start_time": int, "boot": str, "tracker": str, "tracked": bool,
    "freeze_us": int, "dump_us": int, "live_rounds": int, "memory_only": bool, "made_by": str,
    "pages_at": str, "restorable": bool, "why_not": str,
    "punched_by": tuple,
    "pinned": bool, "pin_reason": str, "squashed": tuple, "dropped": float, "dropped_name": str,
}  # fmt: skip


def shown_time(moment: float) -> float:
    """*moment*, seconds since 1970, or 0 (not known) if it is none that can be shown: files may say anything."""
    return moment if 0 <= moment < TIMES else 0.0


def _as(kind: type, key: str, value: Any) -> Any:
    if kind is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if shown_time(float(value)) == value:
            return float(value)
    elif kind is int and type(value) is int:
        if 0 <= value < _NUMBERS:
            return value
    elif type(value) is kind or (key == "parent_id" and value is None):
        return value
    raise ValueError(f"its field {key} is {value!r:.60}")


def _sums(record: dict[str, Any]) -> dict[str, FileSum]:
    if record.get("checksum") != {"algorithm": ALGORITHM, "block": BLOCK}:
        return {}
    sums: dict[str, FileSum] = {}
    for name, entry in record.get("checksums", {}).items():
        size, text = entry["size"], entry["blocks"]
        if type(size) is not int or size < 0 or len(text) != 16 * -(-size // BLOCK):
            raise ValueError(f"the checksum of {name!r:.60} does not fit its size")
        sums[name] = FileSum(size, tuple(int(text[at : at + 16], 16) for at in range(0, len(text), 16)))
    return sums


def _ranges(name: str, flat: Any) -> PageRuns:
    if not isinstance(flat, list) or len(flat) % 2 or not all(type(item) is int and 0 <= item < 1 << 50 for item in flat):
        raise ValueError(f"the punched ranges of {name!r:.60} are not pairs of page numbers")
    table = np.array(flat, dtype=np.uint64).reshape(-1, 2) * np.uint64(PAGE)
    return PageRuns.from_arrays(table[:, 0], table[:, 0] + table[:, 1])
