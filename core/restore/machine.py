"""What this machine and this lamina can give a restored program: rights, pids, processor features, the vdso. Only looks."""

import os
import re
import time
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from lamina.core.attach.procfs import PAGE, Stat, describe, read_maps, read_stat, read_status
from lamina.core.errors import Blocker, ImageError, TargetError
from lamina.core.image.format import VmaStatus
from lamina.core.image.owners import OwnerMap
from lamina.core.image.schema import vma_entry
from lamina.core.image.sidecar import Sidecar
from lamina.core.inspect.owned_pieces import read_owned
from lamina.core.kinds.memory import special
from lamina.core.objects.rights import effective_capabilities
from lamina.core.objects.task_kind import Machine

CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE = 21, 40
REAP_S: Final = 10.0
_LEGACY_END: Final = (1 << 47) - PAGE
_NEW_END: Final = (1 << 56) - PAGE
# Features a program can come to rely on after it asked the processor once; the rest of /proc/cpuinfo's flags is the kernel's business.
_USER_FEATURE: Final = re.compile(
    r"(sse|ssse|avx|amx|bmi|fma|xsave|aes|vaes|sha|gfni|popcnt|movbe|abm|adx|rdrand|rdseed|rdtscp|rdpid|erms|fsrm|fsgsbase|f16c|mmx|cx16|"
    r"pclmulqdq|vpclmulqdq|clflush|clwb|lahf_lm|rtm|hle|movdir|serialize|waitpkg|pku|ospke|3dnow|apx|kl|wide)"
)


def right_blockers() -> list[Blocker]:
    """Choosing a pid needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (clone3(2), set_tid)."""
    if effective_capabilities() & (1 << CAP_SYS_ADMIN | 1 << CAP_CHECKPOINT_RESTORE):
        return []
    return [Blocker("rights", "giving a process its old pid needs CAP_CHECKPOINT_RESTORE", "run lamina as root")]


def processor_blockers(sidecar: Sidecar | None) -> list[Blocker]:
    """Features the dumped program saw and this processor lacks. Nothing is known of a layer without a sidecar."""
    if sidecar is None:
        return []
    missing = sorted(name for name in set(sidecar.cpu_features) - own_features() if _USER_FEATURE.match(name))
    if not missing:
        return []
    return [Blocker("processor", f"the program ran on one that has {', '.join(missing)}; this one has not", "restore on such a machine")]


@cache
def own_features() -> frozenset[str]:
    """The flags of /proc/cpuinfo."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def user_end(processor_flags: Iterable[str]) -> int:
    """First address that no program has (TASK_SIZE_MAX): higher with 5-level page tables."""
    return _NEW_END if "la57" in processor_flags else _LEGACY_END


def this_machine() -> Machine:
    """For kinds to plan by."""
    return Machine(own_features(), user_end(own_features()), effective_capabilities())


# -- pids ----------------------------------------------------------------------------------------------------------------------------


def pid_blockers(wanted: Collection[int], ending: Collection[int] = ()) -> list[Blocker]:
    """Ids of *wanted* (processes and threads) that something holds: a process, a thread, a group or a session.

    *ending*: processes that will be gone by then.
    """
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    found = [
        Blocker(f"pid {tid}", f"above this system's limit {limit}", f"sysctl kernel.pid_max={2 * tid}") for tid in wanted if tid >= limit
    ]
    held = {tid: why for tid in wanted if (why := _holder(tid, ending))}
    held |= {number: why for number, why in _groups(ending).items() if number in wanted and number not in held}
    return found + [
        Blocker(f"pid {tid}", f"taken by {why}", "end it, or restore with --replace if it is the same program")
        for tid, why in sorted(held.items())
    ]


def wait_until_reaped(wanted: Collection[int], ending: Collection[int] = (), patience_s: float = REAP_S) -> list[Blocker]:
    """As `pid_blockers`, but ids held by nothing but zombies get *patience_s* seconds: init may take a second to reap what just ended."""
    deadline = time.monotonic() + patience_s
    while True:
        blockers = pid_blockers(wanted, ending)
        if not blockers or time.monotonic() > deadline or _held_by_living(set(wanted), ending):
            return blockers
        time.sleep(0.005)


def _held_by_living(wanted: set[int], ending: Collection[int]) -> bool:
    """Nobody at all is not "living": the zombie was reaped since the blockers were looked for, which are stale then."""
    holders = (stat for stat in _all_stats() if stat.pid not in ending and {stat.pid, stat.pgrp, stat.session} & wanted)
    return any(stat.state not in "ZX" for stat in holders)


def _holder(tid: int, ending: Collection[int]) -> str:
    try:
        status = read_status(tid)
        owner = int(status["Tgid"])
        if owner in ending:
            return ""
        if owner != tid:
            return f"a thread of {describe(owner)}"
        stat = read_stat(tid)
    except TargetError:
        return ""
    if stat.state == "Z":
        return f"{describe(tid)}, a zombie that its parent {describe(stat.ppid)} has not reaped yet"
    return describe(tid)


def _groups(ending: Collection[int]) -> dict[int, str]:
    """Group or session id → who is in it."""
    found: dict[int, str] = {}
    for stat in _all_stats():
        if stat.pid not in ending:
            found.setdefault(stat.pgrp, f"the process group of {stat.pid} ({stat.comm})")
            found.setdefault(stat.session, f"the session of {stat.pid} ({stat.comm})")
    return found


def _all_stats() -> Iterable[Stat]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield read_stat(int(name))
            except TargetError:
                continue


# -- vdso ----------------------------------------------------------------------------------------------------------------------------


def own_vdso() -> bytes:
    """The code this kernel maps into every program."""
    for area in read_maps(os.getpid()):
        if area.path == "[vdso]":
            with Path("/proc/self/mem").open("rb", buffering=0) as memory:
                memory.seek(area.start)
                return memory.read(area.size)
    return b""


def vdso_blockers(entries: Sequence[vma_entry], owners: OwnerMap, pid: int) -> list[Blocker]:
    """The program holds addresses of functions in its vdso, so this kernel's must be the same bytes.

    The first page tells builds apart by itself (symbols and build id); of the others, those that the layer has are compared.
    """
    try:
        special.moves(entries, read_maps(os.getpid()))
    except ImageError as error:
        return [Blocker(error.obj, error.why, error.fix, pid)]
    own = own_vdso()
    areas = [entry for entry in entries if entry.status & VmaStatus.VDSO]
    if len(areas) == 1 and areas[0].end - areas[0].start == len(own):
        start = areas[0].start
        held = [at for at in range(0, len(own), PAGE) if owners.of(start + at)]
        content = read_owned(owners, start, len(own))
        if held[:1] == [0] and all(content[at : at + PAGE] == own[at : at + PAGE] for at in held):
            return []
    if not areas and not own:
        return []
    why = "this kernel has another one than the one the program was dumped on" if areas else "the layer has none, this kernel has one"
    return [Blocker("[vdso]", why, "restore on the kernel it was dumped on", pid)]
