"""Restoring an image is running a program, so it matters who could have written it."""

import os
import pwd
import stat

from lamina.core.image.layer import Layer


def _callers() -> set[int]:
    """Whose images are as good as the caller's own: root's, the caller's, and under sudo those of the user who called it."""
    callers = {0, os.geteuid()}
    sudo = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and sudo.isascii() and sudo.isdigit():
        callers.add(int(sudo))
    return callers


def untrusted_owner(layer: Layer) -> str | None:
    """The first thing in the layer or its ancestors that somebody else owns or may write, as in "S/1/core-7.img belongs to bob".

    None if there is none. Raises `ImageError` if the chain cannot be followed.
    """
    trusted = _callers()
    for member in layer.chain():
        with os.scandir(member.directory) as entries:
            places = [str(member.directory), *sorted(entry.path for entry in entries)]
        for place in places:
            info = os.lstat(place)
            if info.st_uid not in trusted:
                return f"{place} belongs to {_name(info.st_uid)}"
            if info.st_mode & stat.S_IWOTH and not stat.S_ISLNK(info.st_mode):
                return f"{place} can be written by everybody"
    return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
