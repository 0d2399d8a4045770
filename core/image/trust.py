"""Restoring an image runs a program, so it matters who could have written the image, and who can exchange it before it is read.

Checking a path and then opening it is not safe: in between, the owner of a directory above could put something else there. `held_layer`
opens the directories of a layer and its ancestors one below the other, checks each descriptor, and reads everything through them.
"""

import os
import pwd
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lamina.core.errors import Blocker, RefusedError
from lamina.core.image.layer import MAX_DEPTH, Layer
from lamina.core.image.storage.archive import Archive
from lamina.core.image.storage.walk import Check, ignore, open_directory

_WHY: Final = "restoring it runs what that user put there"
_STEP: Final = 128
_FIX: Final = "add --trust if you trust them"


def _callers(what: str) -> set[int]:
    """Whose images are as good as the caller's own: root's, the caller's, under sudo those of the user who called it. *what*: UID, GID."""
    own = os.geteuid() if what == "UID" else os.getegid()
    callers = {0, own}
    sudo = os.environ.get(f"SUDO_{what}", "")
    if os.geteuid() == 0 and sudo.isascii() and sudo.isdigit():
        callers.add(int(sudo))
    return callers


@contextmanager
def held_layer(path: Path, trust: bool) -> Iterator[Layer]:
    """The layer *path* and its ancestors, opened once and read from there, whatever their paths lead to by then. Unless *trust*, everything
    that is opened, and every directory above, must be of somebody whose images are as good as the caller's own.

    Raises:
        RefusedError: it is not.
        ImageError: there is no such layer; an ancestor is missing.
    """
    layer = Layer(path)
    held: list[Layer] = []
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    check = ignore if trust else _refusing(str(layer.path))
    try:
        layer.storage.hold(check)
        at: Layer | None = layer
        keys: set[object] = set()
        while at is not None and at.key not in keys and len(held) < MAX_DEPTH:  # who follows the chain says why it is none
            held.append(at)
            keys.add(at.key)
            _make_room(len(held), limit)
            above = at.parent()
            if above is not None:
                at.adopt(above)
            at = above
        if not trust and (stranger := untrusted_owner(layer)):
            raise _refused(str(layer.path), stranger)
        yield layer
    finally:
        for member in held:
            member.storage.release()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def _make_room(held: int, limit: tuple[int, int]) -> None:
    """A chain may have more members than a process usually may have descriptors."""
    soft, hard = limit
    wanted = soft + -(-held // _STEP) * _STEP
    if soft != resource.RLIM_INFINITY and held % _STEP == 1:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _refused(obj: str, stranger: str) -> RefusedError:
    return RefusedError("cannot restore", obj, blockers=(Blocker(stranger, _WHY, _FIX),))


def _refusing(obj: str) -> Check:
    def check(name: str, info: os.stat_result) -> None:
        above = stat.S_ISDIR(info.st_mode)
        if whose := _untrusted(name, info, shared=above):
            raise _refused(obj, f"{whose}, who can exchange what is in it" if above and "belongs" in whose else whose)

    return check


def untrusted_owner(layer: Layer) -> str | None:
    """The first thing in the layer or its ancestors that somebody else owns or may write, as in "S/1/core-7.img belongs to bob".

    None if there is none. Raises `ImageError` if the chain cannot be followed.
    """
    for member in layer.chain():
        for name, info in member.storage.stats():
            if whose := _untrusted(name, info):
                return whose
    return None


def untrusted_archive(archive: Archive) -> str | None:
    """Why an open archive is not to be trusted: it is somebody else's, or lies where somebody else can exchange it; or None."""
    info = os.stat_result((stat.S_IFREG | archive.mode, 0, 0, 1, archive.uid, archive.gid, 0, 0, 0, 0))
    if whose := _untrusted(str(archive.path), info):
        return whose
    try:
        os.close(open_directory(str(archive.path.parent), check=_refusing(str(archive.path))))
    except RefusedError as error:
        return error.blockers[0].obj
    except OSError as error:
        return f"{archive.path.parent} cannot be opened: {os.strerror(error.errno or 0)}"
    return None


def _untrusted(name: str, info: os.stat_result, shared: bool = False) -> str | None:
    """Why one file or directory is not to be trusted. *shared*: a directory that many may write is right if it is sticky, as /tmp is: there
    nobody exchanges what another one owns.
    """
    if info.st_uid not in _callers("UID"):
        return f"{name} belongs to {_name(info.st_uid)}"
    if stat.S_ISLNK(info.st_mode) or (shared and info.st_mode & stat.S_ISVTX):
        return None
    if info.st_mode & stat.S_IWOTH:
        return f"{name} can be written by everybody"
    if info.st_mode & stat.S_IWGRP and info.st_gid not in _callers("GID"):
        return f"{name} can be written by group {info.st_gid}"
    return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
