"""The table of a tar: every member, and where its bytes are.

Read are the formats that tools write: ustar, GNU (long names, sparse files) and POSIX pax (with GNU's sparse files 0.0, 0.1 and 1.0). Only
headers are read. Everything is untrusted: sizes must fit into the archive, names may not lead out of it, and the rest is bounded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
import numpy.typing as npt

from lamina.core.errors import ImageError
from lamina.core.image.storage.content import Content

BLOCK = 512
MAX_MEMBERS = 1 << 18
# A header record (a long name, pax attributes), and the list of what a sparse file holds. The last is 24 bytes for each hole.
MAX_HEADER = 1 << 20
MAX_SPARSE_LIST = 1 << 26
MAX_SIZE = 1 << 46
_NO_TAR = "it is neither a tar nor a compressed one"
_LINK, _SYMBOLIC = b"1", b"2"
_DIRECTORY = b"5"
_FILES = (b"0", b"\0", b"7", b"S")
HARD_LINK = "a hard link to what is not in the archive"
_KINDS = {_LINK: HARD_LINK, b"3": "a device", b"4": "a device", b"6": "a pipe"}

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        name: its path in the archive, "./" and "/" at the ends taken off.
        kind: "file", "directory", "link" (symbolic), or what else it is, in words.
        size: bytes, holes included.
        mtime: seconds since 1970.
        target: text of a symbolic link, or the file that a hard link names.
        offset: where the header is in the archive.
        starts, sizes, positions: what a file holds, ascending: offset in the file, bytes, offset in the archive. The rest are holes.
    """

    name: str
    kind: str
    size: int
    mtime: float
    target: str
    offset: int
    starts: Offsets
    sizes: Offsets
    positions: Offsets

    @property
    def stored(self) -> int:
        """Bytes of it that the archive has: what is no hole."""
        return int(self.sizes.sum())


@dataclass(frozen=True)
class _Header:
    """One header block, and what the records before it say instead."""

    name: str
    type: bytes
    size: int
    mtime: float
    target: str
    block: bytes
    pax: Mapping[str, str] = field(default_factory=dict)


def members_of(content: Content, name: str) -> Iterator[Member]:
    """Every member of the tar *content*; *name* is for messages.

    Raises:
        ImageError: it is not a tar, is damaged, or holds something that no archive needs.
    """
    reader = _Reader(content, name)
    for count, member in enumerate(reader.members()):
        if count == MAX_MEMBERS:
            raise ImageError("cannot read", name, f"it holds more than {MAX_MEMBERS} members")
        yield member


class _Reader:
    def __init__(self, content: Content, name: str) -> None:
        self.content = content
        self.name = name

    def bad(self, why: str, at: int) -> ImageError:
        return ImageError("cannot read", self.name, f"{why} (member at offset {at})")

    def take(self, size: int, at: int, limit: int) -> bytes:
        if size > limit:
            raise self.bad(f"a header of {size} bytes, more than the {limit} it can have", at)
        data = self.content.pread(size, at)
        if len(data) != size:
            raise self.bad("it is cut short", at)
        return data

    def members(self) -> Iterator[Member]:
        at = 0
        extra: dict[str, str] = {}
        common: dict[str, str] = {}
        start = 0
        while at < self.content.size:
            block = self.content.pread(BLOCK, at)
            if len(block) < BLOCK:
                raise self.bad("it is cut short", at)
            if not any(block):
                break  # the end, whatever lies behind it
            header = self.header(block, at)
            body, at = at + BLOCK, at + BLOCK
            if header.type in (b"x", b"X", b"L", b"K", b"g"):
                self.extend(extra if header.type != b"g" else common, header.type, self.take(header.size, body, MAX_HEADER), body)
                at = body + _padded(header.size)
                continue
            header = self.override(header, {**common, **extra}, body)
            member, at = self.member(header, body, start)
            yield member
            extra, start = {}, at
        if at == 0:
            raise ImageError("cannot read", self.name, _NO_TAR)
        if extra:
            raise self.bad("it is cut short", at)

    # -- headers ---------------------------------------------------------------------------------------------------------------------

    def header(self, block: bytes, at: int) -> _Header:
        digits = block[148:156].replace(b"\0", b" ").strip()
        if not digits.isdigit() or digits.translate(None, b"01234567") or int(digits, 8) != sum(block) - sum(block[148:156]) + 8 * 32:
            if at == 0:
                raise ImageError("cannot read", self.name, _NO_TAR)
            raise self.bad("the checksum of a header is wrong: it is damaged", at)
        name = _text(block[0:100])
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = f"{prefix}/{name}"
        kind = block[156:157]
        size = 0 if kind in (_LINK, _SYMBOLIC, _DIRECTORY, b"3", b"4", b"6") else self.number(block[124:136], at)
        if kind in (b"0", b"\0") and name.endswith("/"):
            kind, size = _DIRECTORY, 0  # how the oldest tars say it
        return _Header(name, kind, self.size(size, at), float(self.number(block[136:148], at)), _text(block[157:257]), block)

    def number(self, text: bytes, at: int) -> int:
        if text[:1] and text[0] & 0x80:
            value = int.from_bytes(bytes((text[0] & 0x7F,)) + text[1:], "big")
            return value - (1 << (8 * len(text) - 1)) if text[0] & 0x40 else value
        digits = text.replace(b"\0", b" ").strip()
        try:
            return int(digits, 8) if digits else 0
        except ValueError:
            raise self.bad("a number in a header is none", at) from None

    def size(self, value: int, at: int) -> int:
        if not 0 <= value <= MAX_SIZE:
            raise self.bad(f"a size of {value} bytes", at)
        return value

    def extend(self, into: dict[str, str], kind: bytes, data: bytes, at: int) -> None:
        if kind in (b"L", b"K"):
            into["path" if kind == b"L" else "linkpath"] = _text(data)
            return
        sparse: list[str] = []
        while data:
            digits, space, _ = data[:21].partition(b" ")
            length = int(digits) if space and digits.isdigit() else 0
            key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
            if not 0 < length <= len(data) or data[length - 1 : length] != b"\n" or not equals:
                raise self.bad("a pax header is damaged", at)
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                sparse.append(_text(value))  # format 0.0: a pair for each piece, under the same two names
            else:
                into[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
            data = data[length:]
        if sparse:
            into["GNU.sparse.map"] = ",".join(sparse)

    def override(self, header: _Header, pax: Mapping[str, str], at: int) -> _Header:
        """The header with what the records before it say instead."""
        try:
            mtime = float(pax.get("mtime", header.mtime))
        except ValueError:
            raise self.bad("a number in a pax header is none", at) from None
        return replace(
            header,
            name=pax.get("GNU.sparse.name") or pax.get("path") or header.name,
            target=pax.get("linkpath") or header.target,
            size=self.decimal(pax["size"], at) if "size" in pax and header.type in _FILES else header.size,
            mtime=mtime if isfinite(mtime) else 0.0,
            pax=pax,
        )

    def clean(self, name: str, at: int) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise self.bad(f"the name {name!r:.100} leads out of the archive", at)
        return "/".join(parts)

    # -- members ---------------------------------------------------------------------------------------------------------------------

    def member(self, header: _Header, body: int, start: int) -> tuple[Member, int]:
        """The member, and where the next header is."""
        pairs: Offsets | None = None
        size = stored = header.size
        data = body
        if header.type == b"S":
            pairs, data = self.old_sparse(header.block, body)
            size = self.size(self.number(header.block[483:495], start), start)
        elif "GNU.sparse.map" in header.pax:
            pairs = self.pairs(header.pax["GNU.sparse.map"].split(","), start)
            size = self.decimal(header.pax.get("GNU.sparse.size", ""), start)
        elif header.pax.get("GNU.sparse.major") == "1":
            pairs, data = self.new_sparse(body, header.size, start)
            stored -= data - body
            size = self.decimal(header.pax.get("GNU.sparse.realsize", ""), start)
        end = data + _padded(stored) if header.type == b"S" else body + _padded(header.size)
        if data + stored > self.content.size or stored < 0:
            raise self.bad(f"{header.name} is cut short", start)
        if pairs is None:
            pairs = np.array([[0, size]] if size else np.empty((0, 2)), dtype=np.int64).reshape(-1, 2)
        starts, sizes = pairs[:, 0], pairs[:, 1]
        # In order, apart, within the file, and no more than is there.
        overlap = (starts[1:] < starts[:-1] + sizes[:-1]).any()
        if overlap or (len(starts) and int(starts[-1] + sizes[-1]) > size) or int(sizes.sum()) > stored:
            raise self.bad(f"the list of what {header.name} holds is damaged", start)
        positions = data + np.cumsum(sizes) - sizes
        return (
            Member(
                self.clean(header.name, start), _kind_of(header.type), size, header.mtime,
                header.target if header.type in (_LINK, _SYMBOLIC) else "", start, starts, sizes, positions,
            ),
            end,
        )  # fmt: skip

    def old_sparse(self, block: bytes, at: int) -> tuple[Offsets, int]:
        """GNU's first way: four pieces in the header, 21 in each block after it."""
        values: list[int] = []
        table, more = block[386:482], block[482]
        begin = at
        while True:
            for low in range(0, len(table) - 23, 24):
                if table[low : low + 24].strip(b"\0 "):
                    values += (self.number(table[low : low + 12], at), self.number(table[low + 12 : low + 24], at))
            if not more:
                return self.checked(values, at), at
            if at - begin > MAX_SPARSE_LIST:
                raise self.bad("a sparse file in too many pieces", begin)
            block = self.take(BLOCK, at, BLOCK)
            table, more, at = block[:504], block[504], at + BLOCK

    def new_sparse(self, body: int, size: int, start: int) -> tuple[Offsets, int]:
        """GNU's pax format 1.0: the list stands before the data, as decimal numbers on lines, padded to a block."""
        text, at = b"", body
        wanted = 0
        while not wanted or text.count(b"\n") < wanted:
            step = min(max(BLOCK, _padded(len(text))), body + size - at)  # twice as much every time
            if step <= 0 or len(text) > MAX_SPARSE_LIST:
                raise self.bad("the list of a sparse file is damaged", start)
            text += self.take(step, at, MAX_SPARSE_LIST)
            at += step
            if not wanted and b"\n" in text:
                wanted = 1 + 2 * self.decimal(text.split(b"\n", 1)[0].decode("ascii", "replace"), start)
        lines = text.split(b"\n", wanted)
        length = len(text) - len(lines[wanted])
        return self.pairs([line.decode("ascii", "replace") for line in lines[1:wanted]], start), body + _padded(length)

    def pairs(self, words: list[str], at: int) -> Offsets:
        return self.checked([self.decimal(word, at) for word in words if word], at)

    def checked(self, values: list[int], at: int) -> Offsets:
        if len(values) % 2 or any(not 0 <= value <= MAX_SIZE for value in values):
            raise self.bad("the list of a sparse file is damaged", at)
        table = np.array(values, dtype=np.int64).reshape(-1, 2)
        return table[table[:, 1] > 0]

    def decimal(self, word: str, at: int) -> int:
        if not word.isascii() or not word.isdigit() or len(word) > 20:
            raise self.bad(f"{word!r:.30} is not a number", at)
        return self.size(int(word), at)


def _kind_of(kind: bytes) -> str:
    if kind in _FILES:
        return "file"
    return {_DIRECTORY: "directory", _SYMBOLIC: "link"}.get(kind) or _KINDS.get(kind, f"of type {kind!r}")


def _text(field_bytes: bytes) -> str:
    return field_bytes.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
