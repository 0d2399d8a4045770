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
    for member in layer.chain():
        if not member.place.writable:
            places = [str(next(path for path in (member.directory, *member.directory.parents) if path.exists()))]  # the archive
        else:
            with os.scandir(member.directory) as entries:
                places = [str(member.directory), *sorted(entry.path for entry in entries)]
        for place in places:
            if whose := untrusted_file(place):
                return whose
    return None


def untrusted_file(path: str | os.PathLike[str]) -> str | None:
    """Why one file or directory is not to be trusted, as in "S/1/core-7.img belongs to bob", or None."""
    info = os.lstat(path)
    if info.st_uid not in _callers():
        return f"{path} belongs to {_name(info.st_uid)}"
    if info.st_mode & stat.S_IWOTH and not stat.S_ISLNK(info.st_mode):
        return f"{path} can be written by everybody"
    return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
