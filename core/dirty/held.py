"""Userfaultfds that a process holds, and whose they are.

A forked child inherits the descriptor lamina left in its parent, and that copy still acts on the *parent's* memory. So a descriptor that
was found, not made, is used only after proof (`UffdTracker.adopt`), and one that belongs to nobody lamina knows is the program's own.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from lamina.core.attach.calls import CallList, Inside
from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import fds_of, read_fdinfo
from lamina.core.dirty.made import LINK, is_marked, made, note_made
from lamina.core.dirty.state import TargetState, all_states, load, store
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, new_error


class Whose(Enum):
    """To whom a userfaultfd found in a process belongs."""

    OURS = "left by lamina to track this process"
    INHERITED = "left by lamina, but not to track this process: inherited over fork, or forgotten"
    DEAD = "of a process that has ended"
    ELSEWHERE = "left by a lamina that keeps its notes elsewhere"
    FOREIGN = "the program's own"


# Those that lamina neither uses nor closes unasked.
LET_ALONE = frozenset({Whose.ELSEWHERE, Whose.FOREIGN})


@dataclass(frozen=True)
class HeldUffd:
    """One userfaultfd in a process.

    Attributes:
        fd: its number there.
        ino: its inode, another one for every userfaultfd.
        features: as fdinfo shows them: bit 31 in use, 0x8000 asynchronous, 0x2000 unpopulated.
        whose: what `held_uffds` made of it.
    """

    fd: int
    ino: int
    features: int
    whose: Whose


def uffd_fdinfo(pid: int, fd: int) -> tuple[int, int]:
    """(inode, features) of a userfaultfd, from /proc/PID/fdinfo/FD."""
    ino = features = 0
    for key, text in read_fdinfo(pid, fd):
        if key == "ino":
            ino = int(text)
        elif key == "API":  # "aa:8000a000:000000000000007f": version, features in use, features the kernel has
            features = int(text.split(":")[1], 16)
    return ino, features


def fetch(pid: int, fd: int) -> int:
    """A copy of descriptor *fd* of the process, close-on-exec.

    Raises:
        TargetError: the process or the descriptor is gone, or may not be reached.
    """
    err = new_error()
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        raise TargetError("cannot reach", f"process {pid}", os.strerror(error.errno or 0)) from error
    try:
        return check(C.lm_fd_fetch(pidfd, fd, err), err)
    except NativeError as error:
        raise TargetError("cannot fetch", f"fd {fd} of process {pid}", error.reason) from error
    finally:
        os.close(pidfd)


def _looked_at(pid: int, fd: int) -> Whose:
    """Whose a userfaultfd of lamina's features is that is in no note here: the descriptor itself tells."""
    copy = fetch(pid, fd)
    err = new_error()
    try:
        if not check(C.lm_uffd_alive(copy, err), err):
            return Whose.DEAD
        return Whose.ELSEWHERE if is_marked(copy) else Whose.FOREIGN
    except NativeError:
        return Whose.FOREIGN  # one that was never set up, or in another mode: not ours to judge
    finally:
        os.close(copy)


def _judge(identity: Identity, fd: int, ino: int, features: int, states: list[TargetState]) -> Whose:
    claims = [state for state in states if state.uffd_ino == ino]
    own = [state for state in states if state.identity == identity]
    # Claimed before it was made, and lamina died before it could note the inode.
    if own and not own[0].uffd_ino and own[0].uffd_fd == fd:
        return Whose.OURS
    if claims and all(state.identity == identity for state in claims):
        return Whose.OURS
    if claims or ino in made():
        return Whose.INHERITED
    return _looked_at(identity.pid, fd) if features & 0xFFFF == C.LM_UFFD_FEATURES else Whose.FOREIGN


def held_uffds(identity: Identity) -> tuple[HeldUffd, ...]:
    """Every userfaultfd the process holds, in order of their numbers.

    Only what lamina noted or marked as its own counts as lamina's: a program may use the same kind of descriptor for itself.
    """
    found = []
    states: list[TargetState] | None = None
    for fd in fds_of(identity.pid):
        try:
            if os.readlink(f"/proc/{identity.pid}/fd/{fd}") != LINK:
                continue
            ino, features = uffd_fdinfo(identity.pid, fd)
        except (OSError, TargetError):
            continue  # closed while we looked
        states = all_states() if states is None else states
        found.append(HeldUffd(fd, ino, features, _judge(identity, fd, ino, features, states)))
    return tuple(found)


def leftovers(identity: Identity, also: Collection[int] = ()) -> tuple[HeldUffd, ...]:
    """The userfaultfds in the process that this lamina, or one before it, left there. *also*: inodes known to be lamina's."""
    return tuple(held for held in held_uffds(identity) if held.whose not in LET_ALONE or held.ino in also)


def clear_out(identity: Identity, inside: Inside, also: Collection[int] = ()) -> None:
    """Close `leftovers` in the process, inside a freeze. Closing the copy of a forked child does nothing to its parent's tracking."""
    for held in leftovers(identity, also):
        calls = CallList()
        calls.add("close", held.fd, expect=0, about=f"userfaultfd {held.whose.value}")
        inside.run(calls)


def why_let_alone(identity: Identity) -> tuple[str, str]:
    """Why the process cannot be tracked although the kernel could, and what to do about it; ("", "") if it can."""
    for held in held_uffds(identity):
        if held.whose is Whose.FOREIGN:
            return f"it uses a userfaultfd itself (fd {held.fd})", "dump it without --track-mem"
        if held.whose is Whose.ELSEWHERE:
            return (
                f"it is tracked by a lamina that keeps its notes elsewhere, as another user's or in another container (fd {held.fd})",
                f"lamina untrack --force -t {identity.pid} ends that",
            )
    return "", ""


def take_over(identity: Identity) -> bool:
    """Let what another lamina left in the process count as ours, so that it can be taken out. Returns whether there was anything."""
    others = [held for held in held_uffds(identity) if held.whose is Whose.ELSEWHERE]
    for held in others:
        note_made(held.ino)
        store(replace(load(identity) or TargetState(identity), uffd_fd=held.fd, uffd_ino=held.ino))
    return bool(others)
