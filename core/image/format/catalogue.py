"""Every type of image that CRIU 4.2 reads or writes: its name, magic, records, and what follows them (criu/include/magic.h).

Files that have no magic and no records, and so are not here: pages, tmpfs-*.tar.gz, and the dumps of addresses, routes, rules and packet
filters (ifaddr, route, route6, rule, iptables, ip6tables, nftables, netns-ct, netns-exp).
"""

import enum
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from lamina.core.image import schema

COMMON_MAGIC = 0x54564319
SERVICE_MAGIC = 0x55105940

M = TypeVar("M", bound=Message)
Blob = Callable[[Any, memoryview], int]


class Head(enum.Enum):
    """What stands before the records."""

    BARE = "type magic only"
    COMMON = "common magic, type magic"
    SERVICE = "service magic, type magic"


@dataclass(frozen=True)
class ImageKind(Generic[M]):
    """One type of image file.

    Attributes:
        name: the part of the file name before the ids, as in "core" of core-4711.img.
        magic: its 32-bit type magic.
        message: class of its records.
        head: what stands before the records.
        blob: how many bytes follow a record, by the record and by what is left of the file; None if never any. An answer larger than what
            is left means that the file is truncated.
        first: class of the first record where it differs.
    """

    name: str
    magic: int
    message: type[M]
    head: Head = Head.COMMON
    blob: Blob | None = None
    first: type[Message] | None = None

    @property
    def head_bytes(self) -> bytes:
        """The head as it lies in the file."""
        if self.head is Head.BARE:
            return struct.pack("<I", self.magic)
        return struct.pack("<II", COMMON_MAGIC if self.head is Head.COMMON else SERVICE_MAGIC, self.magic)


def _padded(size: int, to: int) -> int:
    return -(-size // to) * to


def _pipe(record: schema.pipe_data_entry, _rest: memoryview) -> int:
    return record.bytes


def _packet(record: schema.sk_packet_entry, _rest: memoryview) -> int:
    return record.length


def _stream(record: schema.tcp_stream_entry, _rest: memoryview) -> int:
    return record.inq_len + record.outq_len


def _map_data(record: schema.bpfmap_data_entry, _rest: memoryview) -> int:
    return record.keys_bytes + record.values_bytes


def _semaphores(record: schema.ipc_sem_entry, _rest: memoryview) -> int:
    return _padded(2 * record.nsems, 8)


def _segment(record: schema.ipc_shm_entry, _rest: memoryview) -> int:
    return 0 if record.in_pagemaps else _padded(record.size, 4)


def _queue(record: schema.ipc_msg_entry, rest: memoryview) -> int:
    """The messages of one queue: each a record, and its content padded to 8."""
    at = 0
    for _ in range(record.qnum):
        if len(rest) - at < 4:
            return len(rest) + 1
        (length,) = struct.unpack_from("<I", rest, at)
        if length > len(rest) - at - 4:
            return len(rest) + 1
        message = schema.ipc_msg.FromString(bytes(rest[at + 4 : at + 4 + length]))
        at += 4 + length + _padded(message.msize, 8)
    return at


def _ghost(record: schema.ghost_file_entry | schema.ghost_chunk_entry, rest: memoryview) -> int:
    if isinstance(record, schema.ghost_chunk_entry):
        return record.len
    return 0 if record.chunks else len(rest)


INVENTORY = ImageKind("inventory", 0x58313116, schema.inventory_entry, Head.BARE)
PSTREE = ImageKind("pstree", 0x50273030, schema.pstree_entry)
CORE = ImageKind("core", 0x55053847, schema.core_entry)
IDS = ImageKind("ids", 0x54432030, schema.task_kobj_ids_entry)
MM = ImageKind("mm", 0x57492820, schema.mm_entry)
FS = ImageKind("fs", 0x51403912, schema.fs_entry)
FDINFO = ImageKind("fdinfo", 0x56213732, schema.fdinfo_entry)
FILES = ImageKind("files", 0x56303138, schema.file_entry)
PAGEMAP = ImageKind("pagemap", 0x56084025, schema.pagemap_entry, first=schema.pagemap_head)
PIPES_DATA = ImageKind("pipes-data", 0x56453709, schema.pipe_data_entry, blob=_pipe)
TTY_INFO = ImageKind("tty-info", 0x59453036, schema.tty_info_entry)
STATS_DUMP = ImageKind("stats-dump", 0x57093306, schema.stats_entry, Head.SERVICE)
STATS_RESTORE = ImageKind("stats-restore", 0x57093306, schema.stats_entry, Head.SERVICE)

# What old releases kept beside core-PID.img and mm-PID.img (old_forms.py).
CREDS = ImageKind("creds", 0x54023547, schema.creds_entry)
VMAS = ImageKind("vmas", 0x54123737, schema.vma_entry)
SIGACTS = ImageKind("sigacts", 0x55344201, schema.sa_entry)
ITIMERS = ImageKind("itimers", 0x57464056, schema.itimer_entry)
POSIX_TIMERS = ImageKind("posix-timers", 0x52603957, schema.posix_timer_entry)
RLIMIT = ImageKind("rlimit", 0x57113925, schema.rlimit_entry)
SIGNAL_S = ImageKind("signal-s", 0x59255647, schema.siginfo_entry)
SIGNAL_P = ImageKind("signal-p", 0x59255647, schema.siginfo_entry)

_WRITTEN_HERE: tuple[ImageKind[Any], ...] = (
    INVENTORY, PSTREE, CORE, IDS, MM, FS, FDINFO, FILES, PAGEMAP, PIPES_DATA, TTY_INFO, STATS_DUMP, STATS_RESTORE,
)  # fmt: skip
_OLD: tuple[ImageKind[Any], ...] = (CREDS, VMAS, SIGACTS, ITIMERS, POSIX_TIMERS, RLIMIT, SIGNAL_S, SIGNAL_P)
_CRIUS: tuple[ImageKind[Any], ...] = (
    # descriptors, before they all went into files.img
    ImageKind("reg-files", 0x50363636, schema.reg_file_entry),
    ImageKind("ext-files", 0x59255641, schema.ext_file_entry),
    ImageKind("ns-files", 0x61394011, schema.ns_file_entry),
    ImageKind("pipes", 0x56513555, schema.pipe_entry),
    ImageKind("fifo", 0x58364939, schema.fifo_entry),
    ImageKind("tty", 0x59433025, schema.tty_file_entry),
    ImageKind("unixsk", 0x54373943, schema.unix_sk_entry),
    ImageKind("inetsk", 0x56443851, schema.inet_sk_entry),
    ImageKind("packetsk", 0x60454618, schema.packet_sock_entry),
    ImageKind("netlinksk", 0x58005614, schema.netlink_sk_entry),
    ImageKind("eventfd", 0x44523722, schema.eventfd_file_entry),
    ImageKind("eventpoll", 0x45023858, schema.eventpoll_file_entry),
    ImageKind("eventpoll-tfd", 0x44433746, schema.eventpoll_tfd_entry),
    ImageKind("signalfd", 0x57323820, schema.signalfd_entry),
    ImageKind("timerfd", 0x50493712, schema.timerfd_entry),
    ImageKind("inotify", 0x48424431, schema.inotify_file_entry),
    ImageKind("inotify-wd", 0x54562009, schema.inotify_wd_entry),
    ImageKind("fanotify", 0x55096122, schema.fanotify_file_entry),
    ImageKind("fanotify-mark", 0x56506035, schema.fanotify_mark_entry),
    ImageKind("tunfile", 0x57143751, schema.tunfile_entry),
    ImageKind("bpfmap-file", 0x57506142, schema.bpfmap_file_entry),
    ImageKind("pidfd", 0x54435556, schema.pidfd_entry),
    # contents
    ImageKind("fifo-data", 0x59333054, schema.pipe_data_entry, blob=_pipe),
    ImageKind("sk-queues", 0x56264026, schema.sk_packet_entry, blob=_packet),
    ImageKind("tcp-stream", 0x51465506, schema.tcp_stream_entry, blob=_stream),
    ImageKind("tty-data", 0x59413026, schema.tty_data_entry),
    ImageKind("bpfmap-data", 0x64324033, schema.bpfmap_data_entry, blob=_map_data),
    ImageKind("memfd", 0x48453499, schema.memfd_inode_entry),
    ImageKind("ghost-file", 0x52583605, schema.ghost_chunk_entry, blob=_ghost, first=schema.ghost_file_entry),
    # names of files
    ImageKind("remap-fpath", 0x59133954, schema.remap_file_path_entry),
    ImageKind("filelocks", 0x54323616, schema.file_lock_entry),
    ImageKind("irmap-cache", 0x57004059, schema.irmap_cache_entry, Head.SERVICE),
    # namespaces
    ImageKind("mountpoints", 0x55563928, schema.mnt_entry),
    ImageKind("utsns", 0x54473203, schema.utsns_entry),
    ImageKind("userns", 0x55474906, schema.userns_entry),
    ImageKind("timens", 0x43114433, schema.timens_entry),
    ImageKind("pidns", 0x61157326, schema.pidns_entry),
    ImageKind("netns", 0x55933752, schema.netns_entry),
    ImageKind("netdev", 0x57373951, schema.net_device_entry),
    ImageKind("ipcns-var", 0x53115007, schema.ipc_var_entry),
    ImageKind("ipcns-shm", 0x46283044, schema.ipc_shm_entry, blob=_segment),
    ImageKind("ipcns-msg", 0x55453737, schema.ipc_msg_entry, blob=_queue),
    ImageKind("ipcns-sem", 0x59573019, schema.ipc_sem_entry, blob=_semaphores),
    # rules and machine
    ImageKind("cgroup", 0x59383330, schema.cgroup_entry),
    ImageKind("seccomp", 0x64413049, schema.seccomp_entry),
    ImageKind("apparmor", 0x59423047, schema.apparmor_entry),
    ImageKind("cpuinfo", 0x61404013, schema.cpuinfo_entry),
    # file systems with a state
    ImageKind("autofs", 0x49353943, schema.autofs_entry),
    ImageKind("binfmt-misc", 0x67343323, schema.binfmt_misc_entry),
)
IMAGES: dict[str, ImageKind[Any]] = {kind.name: kind for kind in _WRITTEN_HERE + _OLD + _CRIUS}
MAGIC: dict[str, int] = {name: kind.magic for name, kind in IMAGES.items()}
_BY_MAGIC: dict[int, ImageKind[Any]] = {kind.magic: kind for kind in reversed(IMAGES.values())}
# Numbers are decimal, those of ghost files and TCP streams hexadecimal.
_NUMBERED = re.compile(r"(?:-shmem)?-[0-9a-f]+")


def kind_of_file(name: str) -> ImageKind[Any] | None:
    """The kind that a file name claims ("core-4711.img", "pagemap-shmem-3.img", "stats-dump"), or None for raw and unknown files."""
    stem = name.removesuffix(".img")
    ids = ""
    while stem:
        if stem in IMAGES and (not ids or _NUMBERED.fullmatch(ids)) and (name.endswith(".img") or IMAGES[stem].head is Head.SERVICE):
            return IMAGES[stem]
        stem, dash, last = stem.rpartition("-")
        ids = dash + last + ids
    return None


def kind_of_head(data: bytes) -> ImageKind[Any] | None:
    """The kind whose head begins *data* (8 bytes are enough), whatever the file is called; None if there is none."""
    words = struct.unpack_from("<II", data.ljust(8, b"\0"))
    kind = _BY_MAGIC.get(words[1])
    if kind and data[:8] == kind.head_bytes:
        return kind
    return INVENTORY if words[0] == INVENTORY.magic else None
