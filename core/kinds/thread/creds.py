"""Credentials of a thread: /proc/PID/task/TID/status ↔ `creds_entry`. The kernel keeps them per thread, and so do images."""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.procfs import read_status
from lamina.core.errors import Blocker
from lamina.core.image.schema import core_entry, creds_entry
from lamina.core.objects.task_kind import Answer, Asking, CapturedThread, Machine, Stage, ThreadKind, ThreadRecord

PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 24, 27, 28, 38
PR_CAP_AMBIENT, AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 47, 2, 4
SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_KEEP: Final = 0xFFFF_FFFF
"""-1 of uid_t: "as it is", in every call that takes an id; setfsuid(2) answers the present one."""
_GROUPS: Final = 65536  # NGROUPS_MAX
_SECUREBITS: Final = 0xFFF
"""All there are: eight, and four of executables since Linux 6.14 (linux/securebits.h)."""
CAP_NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""Index = capability number (capabilities(7))."""
CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 6, 7, 8
_IDS: Final = ("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid")
_CAPS: Final = ("inh", "prm", "eff", "bnd", "amb")


def _words(mask: int) -> list[int]:
    return [mask & 0xFFFF_FFFF, mask >> 32]


def _mask(words: Iterable[int]) -> int:
    return sum(word << 32 * at for at, word in enumerate(words))


def caps(entry: creds_entry) -> dict[str, int]:
    """The five capability sets as masks: inh, prm, eff, bnd, amb."""
    return {name: _mask(getattr(entry, f"cap_{name}")) for name in _CAPS}


def cap_names(mask: int) -> str:
    """ "CAP_SETUID, CAP_KILL", for messages."""
    return ", ".join(f"CAP_{CAP_NAMES[n]}" if n < len(CAP_NAMES) else f"capability {n}" for n in range(64) if mask >> n & 1)


def of_status(status: Mapping[str, str], secbits: int = 0) -> creds_entry:
    """From /proc/PID/task/TID/status."""
    entry = creds_entry(secbits=secbits, groups=[int(word) for word in status["Groups"].split()])
    for at, name in enumerate(("uid", "euid", "suid", "fsuid")):
        setattr(entry, name, int(status["Uid"].split()[at]))
        setattr(entry, name.replace("uid", "gid"), int(status["Gid"].split()[at]))
    for name in _CAPS:
        getattr(entry, f"cap_{name}").extend(_words(int(status[f"Cap{name.capitalize()}"], 16)))
    entry.no_new_privs = int(status["NoNewPrivs"])
    return entry


def lacking(wanted: creds_entry, ours: creds_entry) -> list[Blocker]:
    """What a process that starts with *ours* cannot become: more capable, or another user without the right to change."""
    found = []
    have, want = caps(ours), caps(wanted)
    for name, text, source in (
        ("prm", "permitted", have["prm"]),
        ("bnd", "bounding", have["bnd"]),
        ("inh", "inheritable", have["inh"] | have["bnd"]),
    ):
        if lacking := want[name] & ~source:
            why = f"{cap_names(lacking)} in its {text} set, and lamina has no right to give that"
            found.append(Blocker("credentials", why, "run lamina with the capabilities of the dumped program"))
    needs = 0
    if any(getattr(wanted, name) != getattr(ours, name) for name in _IDS[:4]):
        needs |= 1 << CAP_SETUID
    if any(getattr(wanted, name) != getattr(ours, name) for name in _IDS[4:]) or set(wanted.groups) != set(ours.groups):
        needs |= 1 << CAP_SETGID
    if want["bnd"] != have["bnd"] or wanted.secbits != ours.secbits:
        needs |= 1 << CAP_SETPCAP
    if needs & ~have["eff"]:
        found.append(Blocker("credentials", f"{cap_names(needs & ~have['eff'])} is needed to give it its own", "run lamina as root"))
    return found


def _set_ids(entry: creds_entry, calls: CallList) -> None:
    groups = calls.data(struct.pack(f"<{len(entry.groups)}I", *entry.groups))
    calls.add("setgroups", len(entry.groups), groups, expect=0, about="set the supplementary groups")
    calls.add("setresgid", entry.gid, entry.egid, entry.sgid, expect=0, about=f"set the group ids to {entry.gid}")
    calls.add("setresuid", entry.uid, entry.euid, entry.suid, expect=0, about=f"set the user ids to {entry.uid}")
    # They answer the old id whether they did it or not: asking again proves it.
    for name, value in (("setfsgid", entry.fsgid), ("setfsuid", entry.fsuid)):
        calls.add(name, value, any_result=True)
        calls.add(name, _KEEP, expect=value, about=f"{name} {value}")


def _capset(calls: CallList, inheritable: int, permitted: int, effective: int) -> None:
    header = calls.data(struct.pack("<II", _CAPABILITY_VERSION_3, 0))
    low_high = [struct.pack("<III", *(mask >> shift & 0xFFFF_FFFF for mask in (effective, permitted, inheritable))) for shift in (0, 32)]
    calls.add("capset", header, calls.data(b"".join(low_high)), expect=0, about="set the capabilities")


def _set_caps(entry: creds_entry, ours: creds_entry, calls: CallList) -> None:
    want, have = caps(entry), caps(ours)
    # Inheritable first: the rest follows from it and from what we still hold. Ours go last of all.
    _capset(calls, want["inh"], have["prm"], have["prm"])
    for number in range(64):
        if (have["bnd"] & ~want["bnd"]) >> number & 1:
            calls.add("prctl", PR_CAPBSET_DROP, number, 0, 0, 0, expect=0, about=f"drop {cap_names(1 << number)}")
    calls.add("prctl", PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0, expect=0, about="clear the ambient set")
    for number in range(64):
        if want["amb"] >> number & 1:
            calls.add("prctl", PR_CAP_AMBIENT, AMBIENT_RAISE, number, 0, 0, expect=0, about=f"raise {cap_names(1 << number)}")


class Credentials(ThreadKind[creds_entry]):
    """Ids, groups, capabilities, securebits, no_new_privs."""

    name = "credentials"
    texts = ("status",)
    stage = Stage.CREDENTIALS

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """The securebits. All else is in its status."""
        call = calls.add("prctl", PR_GET_SECUREBITS, 0, 0, 0, 0, about="read the securebits")
        return lambda: call.result

    def read(self, seen: CapturedThread) -> creds_entry:
        """As a message."""
        return of_status(seen.status, seen.answer(self.name))

    def save(self, value: creds_entry, core: core_entry) -> None:
        """Per thread, as the kernel has them."""
        core.thread_core.creds.CopyFrom(value)

    def damage(self, record: ThreadRecord) -> Iterator[str]:
        """What no call that sets them takes."""
        if record.core.thread_core.HasField("creds"):
            yield from damage(record.core.thread_core.creds)
        else:
            yield "it has no credentials"

    def plan(self, record: ThreadRecord, machine: Machine) -> Iterable[Blocker]:
        """What a child of lamina cannot become."""
        if not record.core.thread_core.HasField("creds"):
            return ()
        return lacking(record.core.thread_core.creds, record.task.once("lamina's credentials", lambda: of_status(read_status(os.getpid()))))

    def rebuild(self, record: ThreadRecord, calls: CallList) -> None:
        """After it the thread may have no right to do anything else."""
        if record.core.thread_core.HasField("creds"):
            # All threads of a new process have the same until these calls are made.
            ours = record.task.once("new credentials", lambda: of_status(read_status(record.pid)))
            change(record.core.thread_core.creds, ours, calls)


def damage(entry: creds_entry) -> Iterator[str]:
    """What setresuid(2), setgroups(2), capset(2) and prctl(2) do not take."""
    for name in _IDS:
        if getattr(entry, name) == _KEEP:
            yield f"its {name} is -1"
    if len(entry.groups) > _GROUPS or _KEEP in entry.groups:
        yield f"its {len(entry.groups)} groups are too many, or one is -1"
    for name in _CAPS:
        if any(getattr(entry, f"cap_{name}")[2:]):
            yield f"its capability set {name} has more than 64 bits"
    inheritable, permitted, effective, _, ambient = (_mask(getattr(entry, f"cap_{name}")[:2]) for name in _CAPS)
    if effective & ~permitted:
        yield f"capabilities {effective & ~permitted:#x} are effective and not permitted"
    if ambient & ~(permitted & inheritable):
        yield f"capabilities {ambient & ~(permitted & inheritable):#x} are ambient and not permitted and inheritable"
    if entry.secbits & ~_SECUREBITS:
        yield f"its securebits are {entry.secbits:#x}"
    if entry.no_new_privs > 1:
        yield f"its no_new_privs is {entry.no_new_privs}"


def change(entry: creds_entry, ours: creds_entry, calls: CallList) -> None:
    """Append the calls that turn *ours* into *entry*."""
    ids_differ = set(entry.groups) != set(ours.groups) or any(getattr(entry, name) != getattr(ours, name) for name in _IDS)
    if ids_differ or caps(entry) != caps(ours) or entry.secbits != ours.secbits:
        if ids_differ:
            calls.add("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0, expect=0, about="keep capabilities while ids change")
            _set_ids(entry, calls)
        _set_caps(entry, ours, calls)
        calls.add("prctl", PR_SET_SECUREBITS, entry.secbits, 0, 0, 0, expect=0, about="set the securebits")
        want = caps(entry)
        _capset(calls, want["inh"], want["prm"], want["eff"])
    if entry.no_new_privs:
        calls.add("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, expect=0, about="set no_new_privs")
