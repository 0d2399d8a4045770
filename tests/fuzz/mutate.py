"""Damage to a stack of layers, reproducible by a seed: bytes, lengths, records, fields, files, links, sidecars."""

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina.core.image import format as fmt
from tests.fuzz.records import NUMBERS, TEXTS, frames_of, set_something

JUNK: tuple[Any, ...] = (None, True, -1, 0, 2**64, 1e308, "", "x" * 1000, [], {}, [[]], {"a": {"b": []}}, [1, 2, 3], "ff" * 8)
LINKS = (
    "/", "..", ".", "../none", "/proc/self", "../1/../2", "x" * 300, "../\x1b[31m", "parent", "/dev/null", "../1/core.img", "\n", "//",
    "../" * 500,
)  # fmt: skip
WRONG_JSON = ("[" * 100_000, "{}", "null", '{"version": 1, "layer_id": "x"}', '{"version": 1' + " " * 1000, "NaN", '{"version": 1}' * 2)
Act = Callable[[Path, random.Random], None]


class Mutator:
    """Damages a copy of a stack, says what it did, and can take it back.

    Attributes:
        touched: what is no longer as it was, as LAYER/FILE.
        log: what was done since the last `undo`, in words.
        tampered: a sidecar or a `parent` link was changed: what vouches for the contents is no longer what it was.
    """

    def __init__(self, pristine: Path, work: Path, outside: Path) -> None:
        """*pristine* is never changed, *work* must be equal to it; *outside* is a directory that no reader may look into."""
        self._pristine, self._work, self._outside = pristine, work, outside
        self._layers = sorted(path.name for path in pristine.iterdir())
        self.touched: set[str] = set()
        self.log: list[str] = []
        self.tampered = False

    def damage(self, rng: random.Random) -> None:
        """One to three things."""
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            layer = self._work / rng.choice(self._layers)
            names = sorted(os.listdir(layer))
            name = rng.choice(names)
            if rng.random() < 0.25:  # what carries memory deserves more of it
                name = rng.choice([it for it in names if it.startswith(("pagemap", "mm-", "lamina.json"))] or names)
            path = layer / name
            if not os.path.lexists(path):
                continue
            act = rng.choice(self._acts(name))
            self._touch(path)
            self.log.append(f"{act.__name__.strip('_')} {layer.name}/{name}")
            act(path, rng)

    def undo(self) -> None:
        """Make the copy equal to the original again."""
        for name in self.touched:
            path, old = self._work / name, self._pristine / name
            _remove(path)
            if old.is_symlink():
                path.symlink_to(os.readlink(old))
            elif old.exists():
                shutil.copy2(old, path)
                _punch_like(old, path)
        self.touched.clear()
        self.log.clear()
        self.tampered = False

    def _touch(self, path: Path) -> None:
        self.touched.add(str(path.relative_to(self._work)))

    def _acts(self, name: str) -> list[Act]:
        if name == "parent":
            return [self._relink]
        acts: list[Act] = [self._flip, self._flip, self._cut, self._extend, self._delete, self._replace, self._other_file]
        if name == "lamina.json":
            return [*acts, *[self._edit_sidecar] * 8]
        if fmt.kind_of_file(name):
            return [*acts, self._length, self._reorder, self._hide_magic, *[self._edit_field] * 4]
        return [*acts, self._punch]

    # -- any file --------------------------------------------------------------------------------------------------------------------

    def _write(self, path: Path, data: bytes) -> None:
        if path.name == "lamina.json":
            self.tampered = True
        _remove(path)
        path.write_bytes(data)

    def _flip(self, path: Path, rng: random.Random) -> None:
        data = bytearray(_read(path))
        for _ in range(rng.randint(1, 8) if data else 0):
            data[rng.randrange(len(data))] = rng.choice((0, 0xFF, 0x80, 0x7F, rng.randrange(256)))
        self._write(path, bytes(data))

    def _cut(self, path: Path, rng: random.Random) -> None:
        data = _read(path)
        self._write(path, data[: rng.randint(0, len(data))])

    def _extend(self, path: Path, rng: random.Random) -> None:
        data = _read(path)
        self._write(path, data + rng.choice((b"\0", b"\0" * 4096, rng.randbytes(rng.randint(1, 64)), data[-64:])))
        if rng.random() < 0.2:  # a file of nothing but a hole
            os.truncate(path, rng.choice((2**20, 2**31, 2**40)))

    def _delete(self, path: Path, rng: random.Random) -> None:
        if path.name == "lamina.json":
            self.tampered = True
        _remove(path)

    def _replace(self, path: Path, rng: random.Random) -> None:
        """By something that is not a file, or leads to one elsewhere."""
        if path.name == "lamina.json":
            self.tampered = True
        _remove(path)
        kind = rng.randrange(6)
        if kind == 0:
            os.mkfifo(path)
        elif kind == 1:
            path.mkdir()
        else:
            where = ("secret", ".", "../secret", "none")[kind - 2]
            path.symlink_to(self._outside / where)

    def _other_file(self, path: Path, rng: random.Random) -> None:
        """The content of another file of some layer, also of the same kind in another layer."""
        layer = self._work / rng.choice(self._layers)
        same = layer / path.name
        source = same if rng.random() < 0.5 and os.path.isfile(same) else layer / rng.choice(sorted(os.listdir(layer)))
        if not source.is_symlink() and os.path.isfile(source) and source.stat().st_size < 2**24:
            self._write(path, _read(source))

    def _punch(self, path: Path, rng: random.Random) -> None:
        data = bytearray(_read(path))
        at = rng.randrange(max(1, len(data))) & ~4095
        data[at : at + 4096] = bytes(len(data[at : at + 4096]))
        self._write(path, bytes(data))
        _punch_zeros(path)

    # -- images ----------------------------------------------------------------------------------------------------------------------

    def _hide_magic(self, path: Path, rng: random.Random) -> None:
        data = _read(path)
        self._write(path, rng.choice((data[4:], struct.pack("<I", 0x54564319) + data, b"\x19\x43\x56\x54" + rng.randbytes(4) + data[8:])))

    def _length(self, path: Path, rng: random.Random) -> None:
        data = bytearray(_read(path))
        starts = [at for _, at, _ in frames_of(path.name, bytes(data))]
        if starts:
            at = rng.choice(starts)
            (length,) = struct.unpack_from("<I", data, at)
            struct.pack_into(
                "<I", data, at, rng.choice((0, length + 1, max(0, length - 1), length * 2, 2**31, 2**32 - 1, 2**30)) & 0xFFFFFFFF
            )
        self._write(path, bytes(data))

    def _reorder(self, path: Path, rng: random.Random) -> None:
        """A record twice, away, or in the place of another."""
        data = _read(path)
        frames = frames_of(path.name, data)
        if not frames:
            return
        parts = [data[at:end] for _, at, end in frames]
        one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(4)
        if kind == 0:
            parts.insert(other, parts[one])
        elif kind == 1:
            del parts[one]
        elif kind == 2:
            parts[one], parts[other] = parts[other], parts[one]
        else:
            parts += [parts[one]] * rng.choice((1, 1000))
        self._write(path, data[: frames[0][1]] + b"".join(parts))

    def _edit_field(self, path: Path, rng: random.Random) -> None:
        data = _read(path)
        frames = frames_of(path.name, data)
        if not frames:
            return
        message, at, end = rng.choice(frames)
        old = len(message.SerializePartialToString())
        self.log[-1] += f": {set_something(message, rng)}"
        payload = message.SerializePartialToString()
        if rng.random() < 0.1:
            payload += rng.choice((b"\x32\x01\x00", b"\xf8\x07\x01", b"\x38\x05", b"\xff\xff\xff"))  # a field of a newer release, or none
        self._write(path, data[:at] + struct.pack("<I", len(payload)) + payload + data[at + 4 + old : end] + data[end:])

    # -- what stands beside ----------------------------------------------------------------------------------------------------------

    def _relink(self, path: Path, rng: random.Random) -> None:
        self.tampered = True
        layer = path.parent.name
        _remove(path)
        target = rng.choice((*LINKS, f"../{layer}", f"../{rng.choice(self._layers)}", str(self._outside)))
        kind = rng.randrange(8)
        if kind == 0:
            path.write_bytes(b"../1")
        elif kind == 1:
            path.mkdir()
        elif kind > 2:
            path.symlink_to(target)
        self.log[-1] += f" -> {target!r:.40}"

    def _edit_sidecar(self, path: Path, rng: random.Random) -> None:
        self.tampered = True
        try:
            value = json.loads(_read(path))
        except (ValueError, RecursionError):
            return self._flip(path, rng)
        holder: Any = value
        key: Any = rng.choice(sorted(value)) if isinstance(value, dict) and value else None
        while key is not None and isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.7:
            holder = holder[key]
            key = rng.choice(sorted(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        if key is not None:
            self.log[-1] += f": {key}"
            holder[key] = rng.choice((*JUNK, *NUMBERS, *TEXTS[:5]))
        text = json.dumps(value)
        if rng.random() < 0.1:
            text = rng.choice(
                ("[" * 100_000, "{}", "null", '{"version": 1, "layer_id": "x"}', text * 2, '{"version": 1' + " " * 1000, "NaN")
            )
        path.write_text(text)
        return None


def _read(path: Path) -> bytes:
    """At most 16 MiB of a regular file; nothing of anything else."""
    if path.is_symlink() or not os.path.isfile(path):
        return b""
    with path.open("rb") as file:
        return file.read(2**24)


def _remove(path: Path) -> None:
    if os.path.isdir(path) and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _punch_zeros(path: Path) -> None:
    """Make a hole of every page of zeros."""
    data = path.read_bytes()
    path.unlink()
    with path.open("wb") as file:
        for at in range(0, len(data), 4096):
            if data[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(data[at : at + 4096])
        file.truncate(len(data))


def _punch_like(old: Path, path: Path) -> None:
    """Holes where the original has some."""
    info = old.stat()
    if info.st_size and info.st_blocks * 512 < info.st_size:
        _punch_zeros(path)
