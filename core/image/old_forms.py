"""Images of old CRIU releases, converted to the form of later ones, so that readers know only that.

The areas were in vmas-PID.img; credentials, signal actions, timers, limits and queued signals each beside core-PID.img; and every kind of
open file had its own image instead of files.img. A record that has a field already is left as it is.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from lamina.core.image import format as fmt
from lamina.core.image import schema

# All records of an image by name and kind; none if there is no such file.
Read = Callable[[str, fmt.ImageKind[Any]], list[Any]]
# By kind of image: what an entry of files.img has instead.
_FILES = {
    "reg-files": (schema.fd_types.REG, "reg"), "inetsk": (schema.fd_types.INETSK, "isk"), "ns-files": (schema.fd_types.NS, "nsf"),
    "packetsk": (schema.fd_types.PACKETSK, "psk"), "netlinksk": (schema.fd_types.NETLINKSK, "nlsk"),
    "eventfd": (schema.fd_types.EVENTFD, "efd"), "eventpoll": (schema.fd_types.EVENTPOLL, "epfd"),
    "signalfd": (schema.fd_types.SIGNALFD, "sgfd"), "tunfile": (schema.fd_types.TUNF, "tunf"), "timerfd": (schema.fd_types.TIMERFD, "tfd"),
    "inotify": (schema.fd_types.INOTIFY, "ify"), "fanotify": (schema.fd_types.FANOTIFY, "ffy"), "ext-files": (schema.fd_types.EXT, "ext"),
    "unixsk": (schema.fd_types.UNIXSK, "usk"), "fifo": (schema.fd_types.FIFO, "fifo"), "pipes": (schema.fd_types.PIPE, "pipe"),
    "tty": (schema.fd_types.TTY, "tty"),
}  # fmt: skip
# What was registered with a descriptor had images of its own: (kind, list in the entry of its descriptor).
_PARTS = {"eventpoll": ("eventpoll-tfd", "tfd"), "inotify": ("inotify-wd", "wd"), "fanotify": ("fanotify-mark", "mark")}


def complete_mm(mm: schema.mm_entry, pid: int, read: Read) -> schema.mm_entry:
    """*mm* with its areas."""
    if not mm.vmas:
        mm.vmas.extend(read(f"vmas-{pid}.img", fmt.VMAS))
    return mm


def complete_core(core: schema.core_entry, tid: int, read: Read) -> schema.core_entry:
    """*core* with what belongs to the thread and, if it is the leader's, to the task."""
    if core.HasField("thread_core"):
        if not core.thread_core.HasField("creds"):
            _copy(core.thread_core, "creds", read(f"creds-{tid}.img", fmt.CREDS))
        if not core.thread_core.HasField("signals_p") and (queued := read(f"signal-p-{tid}.img", fmt.SIGNAL_P)):
            core.thread_core.signals_p.signals.extend(queued)
    if not core.HasField("tc"):
        return core
    if not core.tc.HasField("signals_s") and (queued := read(f"signal-s-{tid}.img", fmt.SIGNAL_S)):
        core.tc.signals_s.signals.extend(queued)
    if not core.tc.sigactions:
        core.tc.sigactions.extend(read(f"sigacts-{tid}.img", fmt.SIGACTS))
    if not core.tc.HasField("rlimits") and (limits := read(f"rlimit-{tid}.img", fmt.RLIMIT)):
        core.tc.rlimits.rlimits.extend(limits)
    if not core.tc.HasField("timers") and len(itimers := read(f"itimers-{tid}.img", fmt.ITIMERS)) == 3:
        real, virt, prof = itimers
        posix = read(f"posix-timers-{tid}.img", fmt.POSIX_TIMERS)
        core.tc.timers.CopyFrom(schema.task_timers_entry(real=real, virt=virt, prof=prof, posix=posix))
    return core


def files_by_kind(read: Read) -> list[schema.file_entry]:
    """What files.img would hold, from the images that were there before it."""
    found = []
    for name, (kind, field) in _FILES.items():
        records = read(f"{name}.img", fmt.IMAGES[name])
        if records and name in _PARTS:
            part, into = _PARTS[name]
            by_id = {record.id: record for record in records}
            for item in read(f"{part}.img", fmt.IMAGES[part]):
                if item.id in by_id:
                    getattr(by_id[item.id], into).append(item)
        for record in records:
            entry = schema.file_entry(type=kind, id=record.id)
            _copy(entry, field, [record])
            found.append(entry)
    return found


def _copy(into: Message, field: str, records: list[Any]) -> None:
    if records:
        getattr(into, field).CopyFrom(records[0])
