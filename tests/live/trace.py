"""What a program looks like from outside: lamina must leave all of it as it was."""

import os
from dataclasses import dataclass
from pathlib import Path

# What a tracee's stop may change is here; what its own work changes (times, counters, resident pages) is not.
MASKS = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp", "TracerPid", "CapEff")


@dataclass(frozen=True)
class Observed:
    """Per thread its masks, and the descriptors and mappings of the process."""

    masks: dict[int, dict[str, str]]
    descriptors: dict[int, tuple[str, str]]
    mappings: tuple[tuple[str, str, str], ...]


def observe(pid: int) -> Observed:
    """Masks, handlers, descriptors and mappings of *pid*, from /proc."""
    masks = {}
    for tid in sorted(int(name) for name in os.listdir(f"/proc/{pid}/task")):
        lines = Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
        masks[tid] = {key: value.strip() for key, _, value in (line.partition(":") for line in lines) if key in MASKS}
    descriptors = {}
    for fd in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
        info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
        flags = next(line for line in info if line.startswith("flags"))
        descriptors[fd] = (os.readlink(f"/proc/{pid}/fd/{fd}"), flags)
    return Observed(masks, descriptors, _mappings(pid))


def _mappings(pid: int) -> tuple[tuple[str, str, str], ...]:
    # Areas that were split and lie together again are one for the program: neighbours alike in everything are joined.
    found: list[tuple[str, str, str]] = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, perms, _offset, _dev, inode, *path = line.split(None, 5)
        name = path[0] if path else ""
        low, _, high = where.partition("-")
        if found and inode == "0" and found[-1][1:] == (perms, name) and found[-1][0].endswith("-" + low):
            found[-1] = (found[-1][0].partition("-")[0] + "-" + high, perms, name)
        else:
            found.append((where, perms, name))
    return tuple(found)


def differences(before: dict[int, Observed], after: dict[int, Observed]) -> list[str]:
    """What is not as it was, one line each."""
    found = [f"process {pid} is {'gone' if pid in before else 'new'}" for pid in before.keys() ^ after.keys()]
    for pid in before.keys() & after.keys():
        old, new = before[pid], after[pid]
        pairs: list[tuple[str, object, object]] = []
        pairs += [(f"thread {tid}", old.masks.get(tid), new.masks.get(tid)) for tid in old.masks | new.masks]
        pairs += [(f"{pid} fd {fd}", old.descriptors.get(fd), new.descriptors.get(fd)) for fd in old.descriptors | new.descriptors]
        found += [f"{what}: {was} → {now}" for what, was, now in pairs if was != now]
        found += [f"{pid} area gone: {' '.join(area)}" for area in old.mappings if area not in new.mappings]
        found += [f"{pid} area new: {' '.join(area)}" for area in new.mappings if area not in old.mappings]
    return found


def observe_tree(pids: list[int]) -> dict[int, Observed]:
    """`observe` of each."""
    return {pid: observe(pid) for pid in pids}
