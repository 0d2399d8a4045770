"""Whose the dirty bits are: one small file for each tracked process of this pid namespace, outside every layer (`state_dir.py`).

The tracker's answer is "since the last protect"; this file says which layer that was. It is written *unsettled* before pages are first
protected and *settled* on the new layer after its commit. Whoever finds it unsettled, or settled on another layer than the parent asked
for, may not let anything be inherited: a lamina died in between.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lamina.core.attach.identity import Identity, identify
from lamina.core.attach.procfs import describe, read_stat
from lamina.core.dirty.state_dir import cannot_remember, named_files, read_small, state_dir, sync, write_whole
from lamina.core.errors import BusyError, TargetError

FORMAT = 1


@dataclass(frozen=True)
class TargetState:
    """What lamina remembers of one process between its runs.

    Attributes:
        identity: the process.
        layer_id: the layer that the dirty bits are counted from; "" if none.
        layer_dir: its directory, absolute, for messages.
        settled: that layer is committed, and nothing was protected since.
        tracker: name of the tracker, as in the sidecar.
        uffd_fd: number of the userfaultfd left in the process; -1 if none.
        uffd_ino: its inode; 0 while it is about to be made (`uffd_fd` is then the number it will get).
        program: where its stack began when it was armed; another program has another place (exec), 0 if not known.
        scratch_addr, scratch_len: scratch memory mapped in the process by a lamina that may have died; 0 if none. Bytes.
        shared: of the root of a tree, who had which shared memory mapped then (`shared_memory.Witness`, as JSON); "" if nobody had any.
        owner_pid, owner_start: the lamina that wrote this, and its start time in clock ticks.
    """

    identity: Identity
    layer_id: str = ""
    layer_dir: str = ""
    settled: bool = False
    tracker: str = ""
    uffd_fd: int = -1
    uffd_ino: int = 0
    program: int = 0
    scratch_addr: int = 0
    scratch_len: int = 0
    shared: str = ""
    owner_pid: int = 0
    owner_start: int = 0


def _decode(raw: bytes, path: Path) -> TargetState:
    try:
        table = json.loads(raw)
        if table.pop("format") != FORMAT:
            raise ValueError("of another version of lamina")
        who = table.pop("identity")
        identity = Identity(int(who["pid"]), int(who["start_time"]), str(who["boot"]))
        state = TargetState(identity, **table)
        for name, kind in TargetState.__annotations__.items():
            if name != "identity" and type(getattr(state, name)) is not kind:
                raise TypeError(f"{name} is not {kind.__name__}")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise TargetError("cannot read", str(path), f"damaged: {error}", "remove it: the next dump will be a full one") from error
    return state


def load(identity: Identity) -> TargetState | None:
    """What is remembered of *identity*; None if nothing.

    Raises:
        TargetError: the file is damaged.
    """
    path = state_dir() / f"{identity.key}.json"
    state = _read(path)
    return state if state and state.identity == identity else None


def _read(path: Path) -> TargetState | None:
    try:
        return _decode(read_small(path), path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        raise TargetError("cannot read", str(path), why, "remove it: the next dump will be a full one") from error


def store(state: TargetState) -> TargetState:
    """Remember *state* in place of what was there, atomically and durably. Returns it with the owner filled in: this process.

    Raises:
        TargetError: it cannot be written; what was remembered before still is.
    """
    own = identify(os.getpid())
    table = asdict(state) | {"format": FORMAT, "owner_pid": own.pid, "owner_start": own.start_time}
    path = state_dir() / f"{state.identity.key}.json"
    write_whole(path, json.dumps(table, indent=1).encode())
    return _decode(json.dumps(table).encode(), path)


def forget(identity: Identity) -> None:
    """Remember nothing of *identity* any more. Nothing happens if nothing was.

    Raises:
        TargetError: it cannot be removed.
    """
    path = state_dir() / f"{identity.key}.json"
    try:
        path.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise cannot_remember(path, error) from error


def all_states() -> list[TargetState]:
    """Everything remembered of processes of this pid namespace, living and ended, by pid. Damaged files are left out: `load` names them."""
    found = []
    for named in named_files():
        if named.kind == "json":
            with suppress(TargetError):
                state = _read(named.path)
                if state and (state.identity.pid, state.identity.start_time) == (named.identity.pid, named.identity.start_time):
                    found.append(state)
    return sorted(found, key=lambda state: (state.identity.pid, state.identity.start_time))


def is_running(identity: Identity) -> bool:
    """Whether exactly this process still exists (as a zombie, too)."""
    try:
        return identify(identity.pid) == identity
    except TargetError:
        return False


def forget_ended() -> list[Identity]:
    """Forget every process that has ended, and locks and drafts nobody holds. Returns whom. Run it at the start of a dump.

    Files of other pid namespaces are left alone, and what cannot be removed is left: neither is in anybody's way.
    """
    gone = []
    for named in named_files():
        ended = named.earlier_boot or not is_running(named.identity)
        with suppress(OSError):
            if named.kind == "lock":
                if ended:
                    _remove_unheld(named.path)
            elif named.kind == "tmp":
                if named.earlier_boot or not _exists(named.writer):
                    named.path.unlink(missing_ok=True)
            elif ended:
                named.path.unlink(missing_ok=True)
                if not named.earlier_boot:
                    gone.append(named.identity)
    return sorted(gone, key=lambda identity: identity.pid)


def _exists(pid: int) -> bool:
    try:
        read_stat(pid)
    except TargetError:
        return False
    return True


def _remove_unheld(lock: Path) -> None:
    fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def lock_target(identity: Identity) -> Iterator[None]:
    """Be the only lamina that works on *identity*, until the block ends (or we die: flock(2)).

    Raises:
        BusyError: another one does; `why` names it.
        TargetError: there can be no lock file.
    """
    path = state_dir() / f"{identity.key}.lock"
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_remember(path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip()
            os.close(fd)
            raise BusyError(
                "cannot work on", describe(identity.pid), f"held by {holder or 'another lamina'}", "wait until it has finished"
            ) from None
        # The file may have been removed between open and flock by its last holder: then this lock holds nobody off.
        if _is_at(fd, path):
            break
        os.close(fd)
    try:
        with suppress(OSError):  # only for those who have to wait: a full disk keeps nobody from the lock
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"lamina, process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(fd)
