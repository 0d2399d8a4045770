"""Whose the dirty bits are: one small file for each tracked process, outside every layer.

The tracker's answer is "since the last protect"; this file says which layer that was. It is written *unsettled* before pages are first
protected and *settled* on the new layer after its commit. Whoever finds it unsettled, or settled on another layer than the parent asked
for, may not let anything be inherited: a lamina died in between.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lamina.core.attach.identity import Identity, boot_id, identify
from lamina.core.attach.procfs import describe, read_stat
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
        scratch_addr, scratch_len: scratch memory mapped in the process by a lamina that may have died; 0 if none. Bytes.
        owner_pid, owner_start: the lamina that wrote this, and its start time in clock ticks.
    """

    identity: Identity
    layer_id: str = ""
    layer_dir: str = ""
    settled: bool = False
    tracker: str = ""
    uffd_fd: int = -1
    uffd_ino: int = 0
    scratch_addr: int = 0
    scratch_len: int = 0
    owner_pid: int = 0
    owner_start: int = 0


def state_dir() -> Path:
    """The directory of the state files, made if missing: /run/lamina for root, else a folder of the user's own runtime directory.

    LAMINA_STATE_DIR overrides it (for tests, and for containers without a /run).

    Raises:
        TargetError: it cannot be made, or it belongs to somebody else.
    """
    named = os.environ.get("LAMINA_STATE_DIR")
    if named:
        directory = Path(named)
    elif os.geteuid() == 0:
        directory = Path("/run/lamina")
    else:
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        directory = Path(runtime) / "lamina" if runtime else Path(f"/run/user/{os.geteuid()}/lamina")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise TargetError(
            "cannot remember tracked processes in", str(directory), os.strerror(error.errno or 0), "set LAMINA_STATE_DIR"
        ) from error
    if found.st_uid != os.geteuid():
        raise TargetError("cannot use", str(directory), f"it belongs to user {found.st_uid}", "set LAMINA_STATE_DIR")
    if found.st_mode & 0o077:
        directory.chmod(0o700)
    return directory


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
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TargetError("cannot read", str(path), f"damaged: {error}", "remove it: the next dump will be a full one") from error
    return state


def load(identity: Identity) -> TargetState | None:
    """What is remembered of *identity*; None if nothing.

    Raises:
        TargetError: the file is damaged.
    """
    path = state_dir() / f"{identity.key}.json"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    state = _decode(raw, path)
    return state if state.identity == identity else None


def store(state: TargetState) -> TargetState:
    """Remember *state* in place of what was there, atomically and durably. Returns it with the owner filled in: this process."""
    own = identify(os.getpid())
    table = asdict(state) | {"format": FORMAT, "owner_pid": own.pid, "owner_start": own.start_time}
    directory = state_dir()
    path = directory / f"{state.identity.key}.json"
    draft = directory / f"{state.identity.key}.{own.pid}.tmp"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(table, indent=1).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.rename(path)
    _sync(directory)
    return _decode(json.dumps(table).encode(), path)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def forget(identity: Identity) -> None:
    """Remember nothing of *identity* any more. Nothing happens if nothing was."""
    directory = state_dir()
    (directory / f"{identity.key}.json").unlink(missing_ok=True)
    _sync(directory)


def all_states() -> list[TargetState]:
    """Everything remembered, of living and ended processes, by pid. Damaged files are left out: `load` names them."""
    found = []
    for path in state_dir().glob("*.json"):
        try:
            found.append(_decode(path.read_bytes(), path))
        except (TargetError, FileNotFoundError):
            continue
    return sorted(found, key=lambda state: (state.identity.pid, state.identity.start_time))


def note_made(ino: int) -> None:
    """Remember that lamina made the userfaultfd of inode *ino*, longer than the state of the process it was made in.

    Children that are forked while their parent is tracked keep a copy of it, whatever becomes of the parent and its state.
    """
    fd = os.open(state_dir() / "made", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{boot_id()} {ino}\n".encode())
    finally:
        os.close(fd)


def made() -> frozenset[int]:
    """The inodes of all userfaultfds lamina made since the machine started."""
    try:
        lines = (state_dir() / "made").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return frozenset()
    words = [line.split() for line in lines]
    return frozenset(int(pair[1]) for pair in words if len(pair) == 2 and pair[0] == boot_id() and pair[1].isdigit())


def is_running(identity: Identity) -> bool:
    """Whether exactly this process still exists (as a zombie, too)."""
    try:
        return identify(identity.pid) == identity
    except TargetError:
        return False


def forget_ended() -> list[Identity]:
    """Forget every process that has ended, and locks and drafts nobody holds. Returns whom. Run it at the start of a dump."""
    gone = []
    for state in all_states():
        if not is_running(state.identity):
            forget(state.identity)
            gone.append(state.identity)
    directory = state_dir()
    for lock in directory.glob("*.lock"):
        boot, pid, start = lock.stem.rsplit("-", 2)
        if boot != boot_id()[:8] or not is_running(Identity(int(pid), int(start), boot_id())):
            _remove_unheld(lock)
    for draft in directory.glob("*.tmp"):
        writer = int(draft.name.split(".")[-2])
        try:
            read_stat(writer)
        except TargetError:
            draft.unlink(missing_ok=True)
    return gone


def _remove_unheld(lock: Path) -> None:
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
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
    """
    path = state_dir() / f"{identity.key}.lock"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"lamina, process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)
