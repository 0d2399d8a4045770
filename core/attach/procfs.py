"""What /proc says of a process (proc(5)), as values. Reading it touches nothing.

Every reader raises `TargetError` when the process is gone or may not be read; none returns half a record.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lamina.core.errors import TargetError

PAGE = os.sysconf("SC_PAGE_SIZE")
_TEXT = 1 << 16


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that lamina uses. Times in clock ticks, addresses as given."""

    pid: int
    comm: str
    state: str
    ppid: int
    pgrp: int
    session: int
    tty_nr: int
    flags: int
    num_threads: int
    start_time: int
    start_code: int
    end_code: int
    start_stack: int
    start_data: int
    end_data: int
    start_brk: int
    arg_start: int
    arg_end: int
    env_start: int
    env_end: int
    exit_code: int


SHARED_MEMORY = ("/dev/zero (deleted)", "[anon_shmem:")
"""How what maps shows of shared anonymous memory begins (mm/shmem.c, shmem_zero_setup); the second if it was named (PR_SET_VMA)."""


@dataclass(frozen=True)
class Area:
    """One mapping (VMA) as /proc/PID/smaps shows it.

    Attributes:
        start, end: addresses, bytes, page aligned, end exclusive.
        perms: four letters as in maps, "rw-p".
        offset: bytes into the file.
        dev: "fd:01"; inode: 0 for anonymous memory.
        path: what maps shows: a path, "[heap]", "[vdso]", "" for anonymous memory; " (deleted)" is kept.
        flags: VmFlags of smaps, two letters each; empty if only maps was read.
    """

    start: int
    end: int
    perms: str
    offset: int
    dev: str
    inode: int
    path: str
    flags: frozenset[str] = field(default=frozenset())

    @property
    def shared(self) -> bool:
        """MAP_SHARED."""
        return self.perms[3] == "s"

    @property
    def prot(self) -> int:
        """PROT_READ | PROT_WRITE | PROT_EXEC."""
        return (self.perms[0] == "r") | (self.perms[1] == "w") << 1 | (self.perms[2] == "x") << 2

    @property
    def is_file(self) -> bool:
        """Backed by a file of a file system."""
        return self.inode != 0 and not (self.perms[3] == "s" and self.is_shared_memory)

    @property
    def is_shared_memory(self) -> bool:
        """Memory that tasks share and no file has: mmap(2) with MAP_SHARED and MAP_ANONYMOUS."""
        return self.shared and self.path.startswith(SHARED_MEMORY)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"area {self.start:x}-{self.end:x} {self.perms} {self.path}".rstrip()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetError("no such process", str(pid), fix="it may have ended: list the processes with `lamina ps`") from error
    except PermissionError as error:
        raise TargetError("may not read", f"process {pid}", f"/proc/{pid}/{name}: permission denied", "run lamina as root") from error


def read_stat(pid: int, tid: int = 0) -> Stat:
    """/proc/PID/stat, or /proc/PID/task/TID/stat if *tid* is given."""
    return parse_stat(_read(pid, f"task/{tid}/stat" if tid else "stat"))


def parse_stat(raw: bytes) -> Stat:
    """What `read_stat` answers, of a text taken earlier."""
    head, _, tail = raw.rpartition(b")")
    number, _, comm = head.partition(b"(")
    f = tail.split()  # f[0] is field 3 of proc(5)
    values = [int(x) for x in f[1:]]

    def at(field: int) -> int:
        return values[field - 4]

    return Stat(
        pid=int(number), comm=comm.decode(errors="surrogateescape"), state=f[0].decode(),
        ppid=at(4), pgrp=at(5), session=at(6), tty_nr=at(7), flags=at(9), num_threads=at(20), start_time=at(22),
        start_code=at(26), end_code=at(27), start_stack=at(28), start_data=at(45), end_data=at(46), start_brk=at(47),
        arg_start=at(48), arg_end=at(49), env_start=at(50), env_end=at(51), exit_code=at(52),
    )  # fmt: skip


def read_status(pid: int, tid: int = 0) -> dict[str, str]:
    """/proc/PID/status as key → text, as in "SigCgt" → "0000000180004a02"."""
    return parse_status(read_status_text(pid, tid))


def read_texts(pid: int, names: Iterable[str], tid: int = 0) -> dict[str, bytes]:
    """Files of /proc/PID, or of /proc/PID/task/TID if *tid* is given, as they stand; b"" for one that this kernel has not.

    Raises:
        TargetError: it is gone, or may not be read.
    """
    place = f"/proc/{pid}/task/{tid}/" if tid else f"/proc/{pid}/"
    texts = {}
    for name in names:
        try:
            texts[name] = _content(place + name)
        except FileNotFoundError:
            if not os.path.lexists(place):
                raise TargetError("no such thread" if tid else "no such process", str(tid or pid)) from None
            texts[name] = b""
        except OSError as error:
            raise TargetError("cannot read", place + name, os.strerror(error.errno or 0), "run lamina as root") from error
    return texts


def _content(path: str) -> bytes:
    # Plainer than pathlib, because it is done some dozen times for each task inside the freeze.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = chunk = os.read(file, _TEXT)
        while chunk:
            chunk = os.read(file, _TEXT)
            found += chunk
        return found
    finally:
        os.close(file)


def read_links(pid: int, names: Iterable[str]) -> dict[str, str]:
    """Where symbolic links of /proc/PID point; a removed file ends in " (deleted)".

    Raises:
        TargetError: it is gone or hidden.
    """
    try:
        return {name: os.readlink(f"/proc/{pid}/{name}") for name in names}
    except OSError as error:
        raise TargetError("cannot read", f"process {pid}", f"{error.filename}: {error.strerror}", "run lamina as root") from error


def read_status_text(pid: int, tid: int = 0) -> bytes:
    """/proc/PID/status, or /proc/PID/task/TID/status if *tid* is given, as it stands."""
    return _read(pid, f"task/{tid}/status" if tid else "status")


def parse_status(raw: bytes) -> dict[str, str]:
    """What `read_status` answers, of a text taken earlier."""
    lines = raw.decode(errors="surrogateescape").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def status_number(raw: bytes, key: bytes) -> int:
    """A decimal field of a status as it stands, cheaper than to parse all of it; 0 if the kernel does not show it."""
    at = raw.find(b"\n" + key + b":")
    return int(raw[at + len(key) + 2 :].split(None, 1)[0]) if at >= 0 else 0


def threads_of(pid: int) -> list[int]:
    """Thread ids, the leader first, the others ascending."""
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetError("no such process", str(pid)) from error
    return sorted(tids, key=lambda tid: (tid != pid, tid))


def children_of(pid: int) -> list[int]:
    """Child processes of every thread, ascending (CONFIG_PROC_CHILDREN)."""
    found: set[int] = set()
    for tid in threads_of(pid):
        try:
            found.update(int(word) for word in _read(pid, f"task/{tid}/children").split())
        except TargetError:
            continue  # a thread that ended meanwhile has no children any more
    return sorted(found)


def tree_of(pid: int) -> list[int]:
    """*pid* and everything below it, parents before children, depth first."""
    pids = [pid]
    for child in children_of(pid):
        try:
            pids.extend(tree_of(child))
        except TargetError:
            continue  # ended while we looked
    return pids


def _parse_header(line: str) -> Area:
    words = line.split(None, 5)
    start, _, end = words[0].partition("-")
    path = words[5] if len(words) > 5 else ""
    return Area(int(start, 16), int(end, 16), words[1], int(words[2], 16), words[3], int(words[4]), path)


def read_maps(pid: int) -> list[Area]:
    """/proc/PID/maps: fast, without VmFlags. In ascending order."""
    return [_parse_header(line) for line in _read(pid, "maps").decode(errors="surrogateescape").splitlines()]


def read_smaps(pid: int) -> list[Area]:
    """/proc/PID/smaps: as `read_maps`, with VmFlags. Walks the page tables: ms per GiB."""

    def areas() -> Iterator[Area]:
        head: Area | None = None
        for line in _read(pid, "smaps").decode(errors="surrogateescape").splitlines():
            name, colon, value = line.partition(":")
            if colon and " " not in name and "-" not in name:
                if name == "VmFlags" and head is not None:
                    yield Area(
                        head.start, head.end, head.perms, head.offset, head.dev, head.inode, head.path,
                        frozenset(value.split()),
                    )  # fmt: skip
                    head = None
            else:
                head = _parse_header(line)

    return list(areas())


def fds_of(pid: int) -> list[int]:
    """Open descriptor numbers, ascending."""
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetError("no such process", str(pid)) from error
    except PermissionError as error:
        raise TargetError("may not read", f"process {pid}", "its descriptors are hidden", "run lamina as root") from error


def read_fdinfo(pid: int, fd: int) -> list[tuple[str, str]]:
    """/proc/PID/fdinfo/FD as (key, text) pairs in order; keys such as "tfd" repeat."""
    raw = _read(pid, f"fdinfo/{fd}").decode(errors="replace")
    return [(key, value.strip()) for key, _, value in (line.partition(":") for line in raw.splitlines())]


def read_cmdline(pid: int) -> list[str]:
    """argv; empty for kernel threads and zombies."""
    raw = _read(pid, "cmdline").decode(errors="surrogateescape")
    return raw.removesuffix("\0").split("\0") if raw else []


def is_running(pid: int) -> bool:
    """Whether there is such a process and it has not ended; never raises."""
    try:
        return read_stat(pid).state not in "ZX"
    except TargetError:
        return False


def describe(pid: int) -> str:
    """ "process 4711 (redis-server)", for messages; never raises."""
    try:
        return f"process {pid} ({read_stat(pid).comm})"
    except TargetError:
        return f"process {pid}"
