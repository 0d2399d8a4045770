"""Image files as bytes: magics, records, and the blobs that follow some of them (docs/image-format.md).

A file is a head (the common magic and the type's; only the type's for inventory.img) and records up to the end: a 32-bit length, then a
protobuf payload. Everything read here is untrusted: lengths are checked against what is left before anything is allocated.
"""

import enum
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from lamina.core.errors import ImageError
from lamina.core.image import schema

COMMON_MAGIC = 0x54564319
SERVICE_MAGIC = 0x55105940
# Far above any real one (a file table of a million descriptors is 100 MiB): a guard against a bad length, not a limit to work within.
MAX_FILE = 1 << 30
MAX_RECORDS = 1 << 22

M = TypeVar("M", bound=Message)


class Head(enum.Enum):
    """What stands before the records."""

    BARE = "type magic only"
    COMMON = "common magic, type magic"
    SERVICE = "service magic, type magic"


class PageFlag(enum.IntFlag):
    """`pagemap_entry.flags` (criu/include/pagemap.h)."""

    PARENT = 1
    LAZY = 2
    PRESENT = 4


class VmaStatus(enum.IntFlag):
    """`vma_entry.status` (criu/include/image.h)."""

    REGULAR = 1 << 0
    STACK = 1 << 1
    VSYSCALL = 1 << 2
    VDSO = 1 << 3
    HEAP = 1 << 5
    FILE_PRIVATE = 1 << 6
    FILE_SHARED = 1 << 7
    ANON_SHARED = 1 << 8
    ANON_PRIVATE = 1 << 9
    SYSVIPC = 1 << 10
    SOCKET = 1 << 11
    VVAR = 1 << 12
    AIO_RING = 1 << 13
    MEMFD = 1 << 14
    SHADOW_STACK = 1 << 15
    GUARD = 1 << 16
    UPROBES = 1 << 17


class TaskState(enum.IntEnum):
    """`task_core_entry.task_state`."""

    ALIVE = 1
    DEAD = 2
    STOPPED = 3


@dataclass(frozen=True)
class ImageKind(Generic[M]):
    """One type of image file.

    Attributes:
        name: the part of the file name before the ids, as in "core" of core-4711.img.
        magic: its 32-bit type magic (criu/include/magic.h).
        message: class of its records.
        head: what stands before the records.
        blob: bytes that follow a record, by the record; None if never any.
        first: class of the first record where it differs (pagemap).
    """

    name: str
    magic: int
    message: type[M]
    head: Head = Head.COMMON
    blob: Callable[[Any], int] | None = None
    first: type[Message] | None = None

    @property
    def head_bytes(self) -> bytes:
        """The head as it lies in the file."""
        if self.head is Head.BARE:
            return struct.pack("<I", self.magic)
        return struct.pack("<II", COMMON_MAGIC if self.head is Head.COMMON else SERVICE_MAGIC, self.magic)


INVENTORY = ImageKind("inventory", 0x58313116, schema.inventory_entry, Head.BARE)
PSTREE = ImageKind("pstree", 0x50273030, schema.pstree_entry)
CORE = ImageKind("core", 0x55053847, schema.core_entry)
IDS = ImageKind("ids", 0x54432030, schema.task_kobj_ids_entry)
MM = ImageKind("mm", 0x57492820, schema.mm_entry)
FS = ImageKind("fs", 0x51403912, schema.fs_entry)
FDINFO = ImageKind("fdinfo", 0x56213732, schema.fdinfo_entry)
FILES = ImageKind("files", 0x56303138, schema.file_entry)
PAGEMAP = ImageKind("pagemap", 0x56084025, schema.pagemap_entry, first=schema.pagemap_head)
PIPES_DATA = ImageKind("pipes-data", 0x56453709, schema.pipe_data_entry, blob=lambda record: int(record.bytes))
TTY_INFO = ImageKind("tty-info", 0x59453036, schema.tty_info_entry)
STATS_DUMP = ImageKind("stats-dump", 0x57093306, schema.stats_entry, Head.SERVICE)
STATS_RESTORE = ImageKind("stats-restore", 0x57093306, schema.stats_entry, Head.SERVICE)

# Images that only CRIU writes, or only old ones: decoded so that they can be shown.
_FOREIGN: tuple[ImageKind[Any], ...] = (
    ImageKind("reg-files", 0x50363636, schema.reg_file_entry),
    ImageKind("creds", 0x54023547, schema.creds_entry),
    ImageKind("vmas", 0x54123737, schema.vma_entry),
    ImageKind("sigacts", 0x55344201, schema.sa_entry),
    ImageKind("itimers", 0x57464056, schema.itimer_entry),
    ImageKind("posix-timers", 0x52603957, schema.posix_timer_entry),
    ImageKind("rlimit", 0x57113925, schema.rlimit_entry),
    ImageKind("signal-s", 0x59255647, schema.siginfo_entry),
    ImageKind("signal-p", 0x59255647, schema.siginfo_entry),
    ImageKind("pipes", 0x56513555, schema.pipe_entry),
    ImageKind("fifo", 0x58364939, schema.fifo_entry),
    ImageKind("fifo-data", 0x59333054, schema.pipe_data_entry, blob=lambda record: int(record.bytes)),
    ImageKind("tty", 0x59433025, schema.tty_file_entry),
    ImageKind("tty-data", 0x59413026, schema.tty_data_entry),
    ImageKind("remap-fpath", 0x59133954, schema.remap_file_path_entry),
    ImageKind("filelocks", 0x54323616, schema.file_lock_entry),
    ImageKind("unixsk", 0x54373943, schema.unix_sk_entry),
    ImageKind("inetsk", 0x56443851, schema.inet_sk_entry),
    ImageKind("packetsk", 0x60454618, schema.packet_sock_entry),
    ImageKind("netlinksk", 0x58005614, schema.netlink_sk_entry),
    ImageKind("sk-queues", 0x56264026, schema.sk_packet_entry, blob=lambda record: int(record.length)),
    ImageKind("eventfd", 0x44523722, schema.eventfd_file_entry),
    ImageKind("eventpoll", 0x45023858, schema.eventpoll_file_entry),
    ImageKind("eventpoll-tfd", 0x44433746, schema.eventpoll_tfd_entry),
    ImageKind("signalfd", 0x57323820, schema.signalfd_entry),
    ImageKind("timerfd", 0x50493712, schema.timerfd_entry),
    ImageKind("inotify", 0x48424431, schema.inotify_file_entry),
    ImageKind("inotify-wd", 0x54562009, schema.inotify_wd_entry),
    ImageKind("fanotify", 0x55096122, schema.fanotify_file_entry),
    ImageKind("fanotify-mark", 0x56506035, schema.fanotify_mark_entry),
    ImageKind("ns-files", 0x61394011, schema.ns_file_entry),
    ImageKind("timens", 0x43114433, schema.timens_entry),
    ImageKind("seccomp", 0x64413049, schema.seccomp_entry),
    ImageKind("cgroup", 0x59383330, schema.cgroup_entry),
    ImageKind("memfd", 0x48453499, schema.memfd_inode_entry),
    ImageKind("ext-files", 0x59255641, schema.ext_file_entry),
    ImageKind("tunfile", 0x57143751, schema.tunfile_entry),
)

_OURS: tuple[ImageKind[Any], ...] = (
    INVENTORY, PSTREE, CORE, IDS, MM, FS, FDINFO, FILES, PAGEMAP, PIPES_DATA, TTY_INFO, STATS_DUMP, STATS_RESTORE,
)  # fmt: skip
IMAGES: dict[str, ImageKind[Any]] = {kind.name: kind for kind in _OURS + _FOREIGN}
MAGIC: dict[str, int] = {name: kind.magic for name, kind in IMAGES.items()}


def kind_of_file(name: str) -> ImageKind[Any] | None:
    """The kind that a file name claims ("core-4711.img", "pagemap-shmem-3.img", "stats-dump"), or None for raw and unknown files."""
    stem = name.removesuffix(".img")
    while stem:
        if stem in IMAGES and (name.endswith(".img") or IMAGES[stem].head is Head.SERVICE):
            return IMAGES[stem]
        stem = stem.rpartition("-")[0]
    return None


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
        expected = kind.blob(message) if kind.blob and isinstance(message, kind.message) else 0
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
            return file.read(limit + 1)
    except OSError as error:
        raise ImageError("cannot read image", str(path), os.strerror(error.errno or 0)) from error
    finally:
        os.close(fd)


def records_of(data: bytes, kind: ImageKind[M], name: str) -> Iterator[tuple[Message, bytes, int]]:
    """Every record of an image as (message, blob, offset of the record). *name* is for messages.

    Raises:
        ImageError: at the first thing that is not as the format says, with its offset.
    """
    head = kind.head_bytes
    if data[: len(head)] != head:
        why = "too short for its head" if len(data) < len(head) else f"its magic is {data[: len(head)].hex()}, not {head.hex()}"
        raise ImageError("not an image", name, f"{why} ({kind.name})")
    at = len(head)
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
        except (DecodeError, ValueError) as error:
            raise ImageError("damaged image", name, f"record at offset {start} is not a {expect.DESCRIPTOR.name}: {error}") from error
        if not message.IsInitialized():
            raise ImageError("damaged image", name, f"record at offset {start} lacks a field that every {expect.DESCRIPTOR.name} has")
        at += length
        size = kind.blob(message) if kind.blob else 0
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
