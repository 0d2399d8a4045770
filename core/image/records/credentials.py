"""Credentials of a thread (`creds_entry`): what setresuid(2), setgroups(2), capset(2) and prctl(2) take."""

from collections.abc import Iterator, Sequence
from typing import Final

from lamina.core.image.schema import creds_entry

_IDS: Final = ("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid")
_NOBODY: Final = 2**32 - 1  # "as it is", in every call that takes an id
_GROUPS: Final = 65536  # NGROUPS_MAX
_SETS: Final = ("inh", "prm", "eff", "bnd", "amb")
_SECUREBITS: Final = 0xFFF
"""All there are: eight, and four of executables since Linux 6.14 (linux/securebits.h)."""


def mask(words: Sequence[int]) -> int:
    """A capability set; the words of an image are 32 bits each, the lowest first."""
    return sum(word << 32 * at for at, word in enumerate(words[:2]))


def damage(entry: creds_entry) -> Iterator[str]:
    """What is wrong with them."""
    for name in _IDS:
        if getattr(entry, name) == _NOBODY:
            yield f"its {name} is -1"
    if len(entry.groups) > _GROUPS or _NOBODY in entry.groups:
        yield f"its {len(entry.groups)} groups are too many, or one is -1"
    for name in _SETS:
        if any(getattr(entry, f"cap_{name}")[2:]):
            yield f"its capability set {name} has more than 64 bits"
    inheritable, permitted, effective, _, ambient = (mask(getattr(entry, f"cap_{name}")) for name in _SETS)
    if effective & ~permitted:
        yield f"capabilities {effective & ~permitted:#x} are effective and not permitted"
    if ambient & ~(permitted & inheritable):
        yield f"capabilities {ambient & ~(permitted & inheritable):#x} are ambient and not permitted and inheritable"
    if entry.secbits & ~_SECUREBITS:
        yield f"its securebits are {entry.secbits:#x}"
    if entry.no_new_privs > 1:
        yield f"its no_new_privs is {entry.no_new_privs}"
