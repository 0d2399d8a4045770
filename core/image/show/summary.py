"""What is in a file of a layer, in one line."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from lamina.core.image import schema
from lamina.core.image.pagemap import PAGE, PageMap
from lamina.core.image.show import names
from lamina.core.image.show.signals import exit_status
from lamina.core.image.show.values import byte_size

Records = Sequence[Any]


def _count(number: int, what: str, many: str = "") -> str:
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def _name(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def summary_of_map(pages: PageMap) -> str:
    """How many runs and pages, and where their contents are."""
    parts = [
        _count(len(pages), "run"),
        f"{_count(pages.present.pages, 'page')} ({byte_size(pages.data_bytes)}) in pages-{pages.pages_id}.img",
    ]
    if pages.parent.pages:
        parts.append(f"{_count(pages.parent.pages, 'page')} inherited")
    if pages.nowhere.pages:
        parts.append(f"{_count(pages.nowhere.pages, 'page')} without data")
    return ", ".join(parts)


def summary_of_raw(name: str, size: int, disk_bytes: int) -> str:
    """Of a file that has no records."""
    said = _count(size // PAGE, "page") if name.startswith("pages-") and size % PAGE == 0 else "raw data"
    if disk_bytes + PAGE <= size:
        said += f", {byte_size(disk_bytes)} of it on disk"
    return said


def summary_of_records(kind: str, records: Sequence[Message]) -> str:
    """Of an image of *kind*."""
    if not records:
        return "nothing"
    return _SUMMARIES.get(kind, _plain)(records)


def _plain(records: Records) -> str:
    return _count(len(records), "record")


def _inventory(records: Records) -> str:
    record: schema.inventory_entry = records[0]
    parts = [f"image version {record.img_version}"]
    if record.HasField("pre_dump_mode"):
        parts.append("a pre-dump")
    if record.HasField("dump_uptime"):
        parts.append(f"{record.dump_uptime / 1e6:,.1f} s after boot")
    return ", ".join(parts)


def _pstree(records: Records) -> str:
    threads = sum(max(1, len(task.threads)) for task in records)
    return f"{_count(len(records), 'task')}, {_count(threads, 'thread')}, the root is {records[0].pid}"


def _core(records: Records) -> str:
    core: schema.core_entry = records[0]
    comm = core.tc.comm if core.HasField("tc") else core.thread_core.comm
    state = names.STATE.get(core.tc.task_state, "") if core.HasField("tc") else "a thread"
    if core.tc.task_state == 2:
        state = exit_status(core.tc.exit_code)
    machine = schema.core_entry.march.Name(core.mtype) if core.mtype in schema.core_entry.march.values() else str(core.mtype)
    at = f"at {core.thread_info.gpregs.ip:#x}" if core.HasField("thread_info") else ""
    queued = len(core.tc.signals_s.signals) + len(core.thread_core.signals_p.signals)
    parts = [f'"{_name(comm)}"' if comm else "", state, machine.lower(), at, f"{_count(queued, 'signal')} queued" if queued else ""]
    return ", ".join(filter(None, parts))


def _ids(records: Records) -> str:
    record: schema.task_kobj_ids_entry = records[0]
    return f"memory {record.vm_id}, descriptors {record.files_id}, directories {record.fs_id}, signal actions {record.sighand_id}"


def _mm(records: Records) -> str:
    record: schema.mm_entry = records[0]
    mapped = sum(max(0, area.end - area.start) for area in record.vmas)
    return f"{_count(len(record.vmas), 'area')} of {byte_size(mapped)}, heap {byte_size(max(0, record.mm_brk - record.mm_start_brk))}"


def _fs(records: Records) -> str:
    record: schema.fs_entry = records[0]
    return f"working directory is file {record.cwd_id}, root file {record.root_id}, umask {record.umask:#o}"


def _fdinfo(records: Records) -> str:
    shown = " ".join(str(record.fd) for record in records[:16])
    return f"{_count(len(records), 'descriptor')}: {shown}{' …' if len(records) > 16 else ''}"


def _files(records: Records) -> str:
    kinds = Counter(schema.fd_types.Name(record.type).lower() for record in records)
    return f"{_count(len(records), 'open file')}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _contents(records: Records) -> str:
    return f"{_count(len(records), 'pipe')}, {byte_size(sum(record.bytes for record in records))} in them"


def _stream(records: Records) -> str:
    record: schema.tcp_stream_entry = records[0]
    return f"{byte_size(record.inq_len)} received and not read, {byte_size(record.outq_len)} sent and not acknowledged"


def _ttys(records: Records) -> str:
    return ", ".join(f"pts/{record.pty.index}" if record.HasField("pty") else schema.TtyType.Name(record.type) for record in records[:8])


def _stats(records: Records) -> str:
    record: schema.stats_entry = records[0]
    if record.HasField("dump"):
        return f"frozen for {record.dump.frozen_time:,} µs, {_count(record.dump.pages_written, 'page')} written"
    return f"restored in {record.restore.restore_time:,} µs" if record.HasField("restore") else "nothing"


def _mounts(records: Records) -> str:
    return _count(len(records), "mount")


def _ghost(records: Records) -> str:
    record: schema.ghost_file_entry = records[0]
    chunks = f", {_count(len(records) - 1, 'chunk')}" if record.chunks else ""
    return (
        f"a deleted file of user {record.uid}, mode {record.mode:#o}, {byte_size(record.size) if record.size else 'size not said'}{chunks}"
    )


def _ghost_paths(records: Records) -> str:
    return _count(len(records), "path that is gone", "paths that are gone")


def _namespace(records: Records) -> str:
    return f"{records[0].nodename} {records[0].domainname}".strip()


def _time(records: Records) -> str:
    record: schema.timens_entry = records[0]
    return f"monotonic {record.monotonic.tv_sec:,} s, boot time {record.boottime.tv_sec:,} s"


def _devices(records: Records) -> str:
    return ", ".join(record.name for record in records[:8])


def _filters(records: Records) -> str:
    return _count(len(records[0].seccomp_filters), "filter") if records[0].seccomp_filters else "no filters"


def _groups(records: Records) -> str:
    return f"{_count(len(records[0].sets), 'set')}, {_count(len(records[0].controllers), 'controller')}"


def _shared(records: Records) -> str:
    return f"{_count(len(records), 'memory file')}, {byte_size(sum(record.size for record in records))}"


def _queued(records: Records) -> str:
    return f"{_count(len(records), 'packet')}, {byte_size(sum(record.length for record in records))}"


_SUMMARIES: dict[str, Callable[[Records], str]] = {
    "inventory": _inventory, "pstree": _pstree, "core": _core, "ids": _ids, "mm": _mm, "fs": _fs, "fdinfo": _fdinfo, "files": _files,
    "pipes-data": _contents, "fifo-data": _contents, "tcp-stream": _stream, "tty-info": _ttys, "stats-dump": _stats,
    "stats-restore": _stats, "mountpoints": _mounts, "ghost-file": _ghost, "remap-fpath": _ghost_paths, "utsns": _namespace,
    "timens": _time, "netdev": _devices, "seccomp": _filters, "cgroup": _groups, "memfd": _shared, "sk-queues": _queued,
}  # fmt: skip
