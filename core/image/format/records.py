"""The records of an image file, both ways.

A file is a head (the common magic and the type's; only the type's for inventory.img) and records up to the end: a 32-bit length, then a
protobuf payload. Everything read here is untrusted: lengths are checked against what is left before anything is allocated.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from lamina.core.errors import ImageError
from lamina.core.image.format.catalogue import IMAGES, ImageKind

# Far above any real one (a file table of a million descriptors is 100 MiB): a guard against a bad length, not a limit to work within.
MAX_FILE = 1 << 30
MAX_RECORDS = 1 << 22

M = TypeVar("M", bound=Message)


def encode_image(kind: str | ImageKind[Any], records: Iterable[Message | tuple[Message, bytes]]) -> bytes:
    """A whole image file. A record that is followed by a blob (pipes-data) is given as (record, blob).

    Raises:
        ImageError: a record lacks a required field or its blob is not as long as it says.
        KeyError: no kind of that name.
    """
    kind = IMAGES[kind] if isinstance(kind, str) else kind
    parts = [kind.head_bytes]
    for item in records:
        message, blob = item if isinstance(item, tuple) else (item, b"")
        expected = kind.blob(message, memoryview(blob)) if kind.blob else 0
        if len(blob) != expected:
            raise ImageError("cannot encode", kind.name, f"a record announces {expected} bytes and has {len(blob)}")
        try:
            payload = message.SerializeToString()
        except EncodeError as error:
            raise ImageError("cannot encode", kind.name, str(error)) from error
        parts += (struct.pack("<I", len(payload)), payload, blob)
    return b"".join(parts)


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """The bytes of a regular file of at most *limit* bytes; symbolic links in the last component are not followed.

    Raises:
        ImageError: missing, not a regular file, unreadable or too large.
    """
    try:
        # O_NONBLOCK: a FIFO put in the place of an image must not hang us.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = "missing" if isinstance(error, FileNotFoundError) else os.strerror(error.errno or 0)
        raise ImageError("cannot read image", str(path), why) from error
    try:
        info = os.fstat(fd)
        if info.st_mode & 0o170000 != 0o100000:
            raise ImageError("cannot read image", str(path), "not a regular file")
        if info.st_size > limit:
            raise ImageError("cannot read image", str(path), f"{info.st_size} bytes, more than the {limit} it can have")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(info.st_size)  # not more: a buffer of the whole size asked for is made first
    except OSError as error:
        raise ImageError("cannot read image", str(path), os.strerror(error.errno or 0)) from error
    finally:
        os.close(fd)


def head_size(data: bytes, kind: ImageKind[Any], name: str) -> int:
    """How many bytes of *data* are its head. That of an image of version 1, the type's magic alone, is one too.

    Raises:
        ImageError: it is not an image of that kind.
    """
    for head in (kind.head_bytes, struct.pack("<I", kind.magic)):
        if data.startswith(head):
            return len(head)
    head = kind.head_bytes
    why = "too short for its head" if len(data) < len(head) else f"its magic is {data[: len(head)].hex()}, not {head.hex()}"
    raise ImageError("not an image", name, f"{why} ({kind.name})")


def records_of(data: bytes, kind: ImageKind[M], name: str) -> Iterator[tuple[Message, bytes, int]]:
    """Every record of an image as (message, blob, offset of the record). *name* is for messages.

    Raises:
        ImageError: at the first thing that is not as the format says, with its offset.
    """
    at = head_size(data, kind, name)
    view = memoryview(data)
    expect: type[Message] = kind.first or kind.message
    count = 0
    while at < len(data):
        start = at
        count += 1
        if count > MAX_RECORDS:
            raise ImageError("damaged image", name, f"it holds more than {MAX_RECORDS} records")
        if len(data) - at < 4:
            raise ImageError("truncated image", name, f"the file ends inside a record length at offset {at}")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if length > len(data) - at:
            raise ImageError("truncated image", name, f"record at offset {start} has {length} bytes, {len(data) - at} are left")
        message = expect()
        try:
            message.ParseFromString(data[at : at + length])
            if not message.IsInitialized():
                raise ImageError("damaged image", name, f"record at offset {start} lacks a field that every {expect.DESCRIPTOR.name} has")
            at += length
            size = kind.blob(message, view[at:]) if kind.blob else 0
        except (DecodeError, ValueError) as error:
            raise ImageError("damaged image", name, f"record at offset {start} is not a {expect.DESCRIPTOR.name}: {error}") from error
        if size > len(data) - at:
            raise ImageError("truncated image", name, f"record at offset {start} announces {size} bytes, {len(data) - at} are left")
        yield message, data[at : at + size], start
        at += size
        expect = kind.message


def _bytes_and_name(source: bytes | Path, kind: ImageKind[Any], name: str) -> tuple[bytes, str]:
    if isinstance(source, Path):
        return read_file(source), name or str(source)
    return source, name or kind.name


def decode(source: bytes | Path, kind: ImageKind[M], name: str = "") -> list[M]:
    """All records of *kind*, typed; of a pagemap all but the head (use `lamina.core.image.pagemap` for those).

    Raises:
        ImageError: missing or damaged; names the file and the offset.
    """
    data, name = _bytes_and_name(source, kind, name)
    return [message for message, _, _ in records_of(data, kind, name) if isinstance(message, kind.message)]


def decode_one(source: bytes | Path, kind: ImageKind[M], name: str = "") -> M:
    """The single record of an image that must hold exactly one.

    Raises:
        ImageError: missing or damaged, or not exactly one record.
    """
    data, name = _bytes_and_name(source, kind, name)
    records = decode(data, kind, name)
    if len(records) != 1:
        raise ImageError("damaged image", name, f"holds {len(records)} records where one is expected")
    return records[0]


def decode_blobs(source: bytes | Path, kind: ImageKind[M], name: str = "") -> list[tuple[M, bytes]]:
    """As `decode`, each record with the bytes that follow it (pipes-data)."""
    data, name = _bytes_and_name(source, kind, name)
    return [(message, blob) for message, blob, _ in records_of(data, kind, name) if isinstance(message, kind.message)]


def decode_image(source: bytes | Path, kind: str) -> list[Message]:
    """All records of an image by the name of its kind, a pagemap's head included. Raises as `decode`."""
    found = IMAGES[kind]
    data, name = _bytes_and_name(source, found, "")
    return [message for message, _, _ in records_of(data, found, name)]
